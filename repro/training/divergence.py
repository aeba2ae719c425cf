"""Training that diverged is stopped at the step that broke it: no hours of nonsense after it, and no checkpoint of it."""

from typing import Any

from transformers import TrainerCallback


def check_finite(model: Any) -> None:
    """Whether every weight is a number.

    Raises:
        RuntimeError: names the first weight that is not.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise RuntimeError(f"training diverged: weight {name} is not finite. Lower the learning rate.")


class StopWhereDiverged(TrainerCallback):
    """Looks at the weights after each optimiser step, before a checkpoint is written and the next completions are drawn.

    Weights can be finite and too large for a forward pass: that is told where completions are drawn (`job.told_of`).
    """

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        check_finite(model)
