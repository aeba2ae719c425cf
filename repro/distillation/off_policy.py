"""GKD-FKL: token KL(p_T||p_S) on stored teacher completions; the loss is `losses.forward_kl`."""

from typing import Any

from repro.distillation.divergence_trainer import DivergenceTrainer
from repro.distillation.traces import Trace

HISTORY_NAMES = {
    "step": "step",
    "loss": "loss",
    "completions/mean_length": "length",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""As on-policy, without completion metrics: the student samples nothing during training."""


class OffPolicyTrainer(DivergenceTrainer):
    """TRL's DistillationTrainer, reading the "completion_ids" column instead of sampling."""

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._stored = [row["completion_ids"] for row in inputs]
        return super()._generate_and_score_completions(inputs)

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> list[list[int]]:
        return self._stored


def off_policy_row(trace: Trace) -> dict[str, Any]:
    """Return a chat prompt, which TRL renders, and the completion's token ids."""
    return {"prompt": [{"role": "user", "content": trace.item.prompt}], "completion_ids": trace.completion_ids}
