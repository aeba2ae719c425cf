"""SFT: cross-entropy on the tokens of stored teacher completions."""

from typing import Any

from trl import SFTConfig, SFTTrainer

from repro.distillation.traces import Trace
from repro.training.buckets import TokenMeans

HISTORY_NAMES = {
    "step": "step",
    "loss": "loss",
    "mean_token_accuracy": "token_accuracy",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""loss: nats per completion token of the step; token_accuracy: share of trace tokens that the student ranks first,
which is not the accuracy of its answers."""


class SftTrainer(TokenMeans, SFTTrainer):
    """TRL's SFTTrainer; its figures are means over the tokens of a step."""


def sft_row(prompt_ids: list[int], trace: Trace) -> dict[str, list[int]]:
    """Return input_ids and labels; -100 keeps the prompt out of the loss."""
    return {
        "input_ids": prompt_ids + trace.completion_ids,
        "labels": [-100] * len(prompt_ids) + trace.completion_ids,
    }


def sft_config(shared: dict[str, Any]) -> SFTConfig:
    """Return TRL's settings: rows are tokens in training order; the loss is the sum over labels / labels of the step.

    Args:
        shared: `optimisation.trainer_arguments`.
    """
    return SFTConfig(
        **shared,
        max_length=None,
        packing=False,
        loss_type="nll",
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        average_tokens_across_devices=True,
    )
