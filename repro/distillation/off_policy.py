"""GKD-FKL: the student learns the token KL(p_T||p_S) on what the teacher wrote (Eq 2, p = p_T, q = p_S)."""

from typing import Any

from trl import DistillationTrainer

from repro.training.buckets import BucketedSteps, TokenMeans

FIGURES = {
    "step": "step",
    "loss": "loss",
    "completions/mean_length": "length",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""As on-policy; the student writes nothing during training, so no figure speaks of its completions."""


class OffPolicyTrainer(BucketedSteps, TokenMeans, DistillationTrainer):
    """TRL's DistillationTrainer, given the "completion_ids" column where it would sample."""

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._stored = [x["completion_ids"] for x in inputs]
        return super()._generate_and_score_completions(inputs)

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> list[list[int]]:
        return self._stored
