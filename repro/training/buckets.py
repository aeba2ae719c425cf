"""Sort the sequences of an optimiser step by length, so that each forward pass has little padding.

The step keeps its sequences, and its gradient up to rounding: every loss in the kit divides by the tokens (or
sequences) of the entire step. A single-forward step is unchanged. Shapes: B sequences, P prompt, C completion tokens.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch

MicroBatch = dict[str, Any]
"""Inputs of one forward pass: left-padded prompts [B, P], right-padded completions [B, C]; others [B] or scalar."""

PER_FORWARD = ("entropy", "kl", "mean_token_accuracy", "clip_ratio/region_mean")
"""Metrics, by their names in the trainers' logs, that are means over the tokens of one forward pass."""


def order_by_length(lengths: Sequence[int], step: int) -> list[int]:
    """Return each step's rows from longest to shortest, so that out-of-memory errors come first; steps stay in order.

    Args:
        lengths: tokens of each row, in training order.
        step: rows per optimiser step, over all ranks. accelerate deals batches to the ranks in turn, so ranks compute
            on rows of nearly the same length at the same time.
    """
    starts = range(0, len(lengths), step)
    return [n for start in starts for n in sorted(_within(start, step, len(lengths)), key=lambda n: -lengths[n])]


def _within(start: int, step: int, end: int) -> range:
    return range(start, min(start + step, end))


def rebucket(micro_batches: Sequence[MicroBatch]) -> list[MicroBatch]:
    """Sort the sequences of all micro-batches by length and split them into the same number of micro-batches.

    Each micro-batch is trimmed to its longest sequence.
    """
    size = len(micro_batches[0]["completion_ids"])
    step = {name: _joined([micro[name] for micro in micro_batches]) for name in micro_batches[0]}
    lengths = step["prompt_mask"].sum(1) + step["completion_mask"].sum(1)
    order = lengths.argsort(descending=True, stable=True)
    return [_trimmed(_rows(step, order[start : start + size])) for start in range(0, len(order), size)]


def _joined(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor) and first.ndim:
        return torch.cat(values)
    return list(itertools.chain.from_iterable(values)) if isinstance(first, list) else first


def _rows(step: Mapping[str, Any], rows: torch.Tensor) -> MicroBatch:
    def pick(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.ndim:
            return value[rows]
        return [value[n] for n in rows.tolist()] if isinstance(value, list) else value

    return {name: pick(value) for name, value in step.items()}


def _trimmed(micro: MicroBatch) -> MicroBatch:
    P, C = (micro[f"{side}_mask"].shape[1] for side in ("prompt", "completion"))
    longest_P, longest_C = (max(1, int(micro[f"{side}_mask"].sum(1).max())) for side in ("prompt", "completion"))

    def trim(name: str, value: Any) -> Any:
        if not (isinstance(value, torch.Tensor) and value.ndim == 2):
            return value
        if name.startswith("prompt_"):
            return value[:, P - longest_P :]
        return value[:, :longest_C] if value.shape[1] == C else value

    return {name: trim(name, value) for name, value in micro.items()}


class BucketedSteps:
    """Mixin for TRL trainers that sample a whole step at once: sorts its sequences by length before the forwards."""

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = getattr(self, "_buffered_inputs", None)
        inputs = super()._prepare_inputs(generation_batch)  # type: ignore[misc]
        micro_batches: list[MicroBatch] | None = getattr(self, "_buffered_inputs", None)
        if micro_batches is before or micro_batches is None or len(micro_batches) == 1:
            return inputs
        self._buffered_inputs = rebucket(micro_batches)
        return self._buffered_inputs[self._step % len(micro_batches)]  # type: ignore[attr-defined]


class TokenMeans:
    """Mixin that weights per-token metrics by the tokens of each forward pass, so that they are means over the step.

    TRL averages the means of the forwards: with sequences sorted by length, short ones would count too much.
    """

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        is_counted = inputs["labels"][:, 1:] != -100 if "labels" in inputs else inputs["completion_mask"]
        # not read before `log`: that would wait for the GPU to finish the previous backward pass
        self._tokens_of_forwards = [*getattr(self, "_tokens_of_forwards", ()), is_counted.sum()]
        return super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def log(self, *args: Any, **kwargs: Any) -> None:
        counts, self._tokens_of_forwards = getattr(self, "_tokens_of_forwards", []), []
        metrics = self._metrics["train"]  # type: ignore[attr-defined]
        if len(counts) > 1:
            gathered = self.accelerator.gather(torch.stack(counts))  # type: ignore[attr-defined]
            tokens = gathered.view(-1, len(counts)).sum(0).tolist()  # over the ranks
            for name in PER_FORWARD:
                if len(metrics.get(name, ())) == len(tokens):
                    metrics[name] = [value * n * len(tokens) / sum(tokens) for value, n in zip(metrics[name], tokens)]
        super().log(*args, **kwargs)  # type: ignore[misc]
