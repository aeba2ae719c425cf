"""Sequences of one optimiser step that is cut into several forwards, sorted by length so that each forward pads little.

The step's sequences stay the same, and so does its gradient up to rounding: every loss of the kit divides by the tokens (or
sequences) of the whole step. Nothing changes where a step is one forward. Shapes: B sequences, P prompt, C completion tokens.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch

Part = dict[str, Any]
"""What a trainer gives to one forward: prompts padded left, completions right, [B, P] and [B, C]; and [B], or no axis."""

PER_FORWARD = ("entropy", "kl", "mean_token_accuracy", "clip_ratio/region_mean")
"""The trainers' names of figures that are means over the tokens of one forward."""


def order_by_length(lengths: Sequence[int], step: int) -> list[int]:
    """Rows of each step from the longest to the shortest, the steps in their order: what does not fit fails at once.

    Args:
        lengths: tokens of each row, in training order.
        step: rows of one optimiser step, over all ranks. accelerate hands batches to the ranks in turn, so that ranks that
            compute at one time have rows of nearly one length.
    """
    starts = range(0, len(lengths), step)
    return [n for start in starts for n in sorted(_within(start, step, len(lengths)), key=lambda n: -lengths[n])]


def _within(start: int, step: int, end: int) -> range:
    return range(start, min(start + step, end))


def rebucket(parts: Sequence[Part]) -> list[Part]:
    """The same sequences in as many parts of the same size, sorted by length and trimmed to the longest of their part."""
    size = len(parts[0]["completion_ids"])
    whole = {name: _joined([part[name] for part in parts]) for name in parts[0]}
    lengths = whole["prompt_mask"].sum(1) + whole["completion_mask"].sum(1)
    order = lengths.argsort(descending=True, stable=True)
    return [_trimmed(_rows(whole, order[start : start + size])) for start in range(0, len(order), size)]


def _joined(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor) and first.ndim:
        return torch.cat(values)
    return list(itertools.chain.from_iterable(values)) if isinstance(first, list) else first


def _rows(whole: Mapping[str, Any], rows: torch.Tensor) -> Part:
    def pick(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.ndim:
            return value[rows]
        return [value[n] for n in rows.tolist()] if isinstance(value, list) else value

    return {name: pick(value) for name, value in whole.items()}


def _trimmed(part: Part) -> Part:
    P, C = (part[f"{side}_mask"].shape[1] for side in ("prompt", "completion"))
    longest_P, longest_C = (max(1, int(part[f"{side}_mask"].sum(1).max())) for side in ("prompt", "completion"))

    def trim(name: str, value: Any) -> Any:
        if not (isinstance(value, torch.Tensor) and value.ndim == 2):
            return value
        if name.startswith("prompt_"):
            return value[:, P - longest_P :]
        return value[:, :longest_C] if value.shape[1] == C else value

    return {name: trim(name, value) for name, value in part.items()}


class BucketedSteps:
    """For TRL's trainers that draw the sequences of a whole step first: its forwards take them by length."""

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = getattr(self, "_buffered_inputs", None)
        inputs = super()._prepare_inputs(generation_batch)  # type: ignore[misc]
        parts: list[Part] | None = getattr(self, "_buffered_inputs", None)
        if parts is before or parts is None or len(parts) == 1:
            return inputs
        self._buffered_inputs = rebucket(parts)
        return self._buffered_inputs[self._step % len(parts)]  # type: ignore[attr-defined]


class TokenMeans:
    """Figures per token are means over the tokens of the step, however it was cut into forwards.

    TRL averages the forwards' means: with sequences sorted by length, the few tokens of short ones would count too much.
    """

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        counted = inputs["labels"][:, 1:] != -100 if "labels" in inputs else inputs["completion_mask"]
        tokens = self.accelerator.gather(counted.sum()).sum().item()  # type: ignore[attr-defined]
        self._tokens_of_forwards = [*getattr(self, "_tokens_of_forwards", ()), tokens]
        return super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def log(self, *args: Any, **kwargs: Any) -> None:
        tokens = getattr(self, "_tokens_of_forwards", [])
        metrics = self._metrics["train"]  # type: ignore[attr-defined]
        if len(tokens) > 1:
            for name in PER_FORWARD:
                if len(metrics.get(name, ())) == len(tokens):
                    metrics[name] = [value * n * len(tokens) / sum(tokens) for value, n in zip(metrics[name], tokens)]
        self._tokens_of_forwards = []
        super().log(*args, **kwargs)  # type: ignore[misc]
