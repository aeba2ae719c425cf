"""SFT: cross-entropy on the tokens of stored teacher completions."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl import SFTConfig, SFTTrainer

from repro.distillation.traces import Trace
from repro.training.buckets import TokenMeans, order_by_length
from repro.training.resources import TrainingResources

CPU_MICRO_BATCH = 64
"""Sequences per forward pass on a CPU. MEASURED at toy scale: splitting a step's 128 sequences, sorted by length, into
two forwards takes 0.9 x the time of one, which pads all to the longest; four or eight forwards add more overhead than
they save."""
HISTORY_NAMES = {
    "step": "step",
    "loss": "loss",
    "mean_token_accuracy": "token_accuracy",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""loss: nats per completion token of the step; token_accuracy: share of trace tokens that the student ranks first
(not the accuracy of its answers)."""


def collate(rows: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """Right-pad the rows to tensors [B, T] as TRL's collator does, plus weights [B] if the rows have them.

    TRL's collator takes a tenth of the step time of a small model.
    """
    ids_BT, labels_BT = (
        pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=padding)
        for name, padding in (("input_ids", pad_id), ("labels", -100))
    )
    lengths_B = torch.tensor([len(row["input_ids"]) for row in rows])
    mask_BT = (torch.arange(ids_BT.shape[1]) < lengths_B[:, None]).long()
    batch = {"input_ids": ids_BT, "labels": labels_BT, "attention_mask": mask_BT}
    return batch | ({"weight": torch.tensor([row["weight"] for row in rows])} if "weight" in rows[0] else {})


class SftTrainer(TokenMeans, SFTTrainer):
    """TRL's SFTTrainer, with metrics averaged over the tokens of a step."""

    def __init__(self, *, processing_class: Any, **arguments: Any) -> None:
        pad_id = processing_class.pad_token_id
        collator = functools.partial(collate, pad_id=pad_id)
        super().__init__(processing_class=processing_class, data_collator=collator, **arguments)


class WeightedSftTrainer(SftTrainer):
    """SftTrainer with a weight per row: sum_i w_i sum_t -log p_S(y_it) / N, N the completion tokens of the step."""

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: list[str] = self._signature_columns
        self._signature_columns: list[str] = [*(name for name in columns if name != "weight"), "weight"]

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        weight_B = inputs["weight"]

        def weighted_model(**read: Any) -> Any:
            output = model(**read)
            output.log_probs = output.log_probs * weight_B[:, None]
            return output

        unweighted = {name: value for name, value in inputs.items() if name != "weight"}
        return super().compute_loss(weighted_model, unweighted, *args, **kwargs)


def trainer_for(rows: Dataset) -> type[SftTrainer]:
    """Return the trainer class for rows with or without weights."""
    return WeightedSftTrainer if "weight" in rows.column_names else SftTrainer


def limit_micro_batch(resources: TrainingResources) -> TrainingResources:
    """Set the CPU micro-batch if none is given and there is no GPU."""
    if resources.micro_batch or torch.cuda.is_available():
        return resources
    return replace(resources, micro_batch=CPU_MICRO_BATCH)


def sort_steps(rows: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """Sort the rows of each step by length."""
    return [rows[n] for n in order_by_length([len(row["input_ids"]) for row in rows], step)]


def sft_row(prompt_ids: list[int], trace: Trace) -> dict[str, Any]:
    """Return input_ids, labels (-100 masks the prompt in the loss), and the trace's weight if it has one."""
    row = {
        "input_ids": prompt_ids + trace.completion_ids,
        "labels": [-100] * len(prompt_ids) + trace.completion_ids,
    }
    return row if trace.weight is None else {**row, "weight": trace.weight}


def sft_config(shared: dict[str, Any]) -> SFTConfig:
    """Return TRL's settings: rows are tokenised, in training order; the loss is averaged over the step's labels.

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
