"""Training that diverged is stopped at the step that broke it: no hours of nonsense after it, and no checkpoint of it."""

from typing import Any

from transformers import TrainerCallback

from repro.training.sharding import first_not_finite


def check_finite(model: Any) -> None:
    """Whether every weight is a number, on every rank.

    Raises:
        RuntimeError: names the first weight that is not.
    """
    name = first_not_finite(model)
    if name is not None:
        raise RuntimeError(f"training diverged: weight {name} is not finite. Lower the learning rate.")


class StopOnNonFinite(TrainerCallback):
    """Looks at the weights after each optimiser step, before a checkpoint is written and the next completions are drawn.

    Weights can be finite and too large for a forward pass: that is told where completions are drawn (`job.told_of`).
    """

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        check_finite(model)
