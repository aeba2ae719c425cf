"""Stop a diverged training run at the step that broke it: no wasted hours, no checkpoint of broken weights."""

from typing import Any

from transformers import TrainerCallback

from repro.training.sharding import first_not_finite


def check_finite(model: Any) -> None:
    """Check that every weight is finite, on every rank.

    Raises:
        RuntimeError: names the first weight that is not finite.
    """
    name = first_not_finite(model)
    if name is not None:
        raise RuntimeError(f"training diverged: weight {name} is not finite. Lower the learning rate.")


class StopOnNonFinite(TrainerCallback):
    """Checks the weights after each optimiser step, before a checkpoint is written or new completions are sampled.

    Finite weights can still overflow in a forward pass; sampling then fails (`pipeline.error_advice`).
    """

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        check_finite(model)
