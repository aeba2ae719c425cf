"""Batches of sequences, limited by padded tokens."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

SequenceT = TypeVar("SequenceT")

FORWARD_TOKENS = 16_384
"""Most padded tokens in a forward pass without gradients, to bound memory; changes results by rounding only."""
BACKWARD_TOKENS = 1024
"""The same for a memory-saving backward pass (`distillation.loss_gradient.lean_gradient`)."""


def padded_batches(
    sequences: Iterable[SequenceT], length: Callable[[SequenceT], int], most: int | None = None
) -> Iterator[list[SequenceT]]:
    """Group neighbouring sequences into batches of at most `most` padded tokens; a longer sequence is its own batch.

    Args:
        length: returns the tokens of a sequence.
        most: None for `FORWARD_TOKENS`.
    """
    most = FORWARD_TOKENS if most is None else most
    batch: list[SequenceT] = []
    longest = 0
    for sequence in sequences:
        tokens = length(sequence)
        if batch and max(longest, tokens) * (len(batch) + 1) > most:
            yield batch
            batch, longest = [], 0
        batch.append(sequence)
        longest = max(longest, tokens)
    if batch:
        yield batch


def sorted_batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Group sequences of similar length, longest first, so that running out of memory happens at once.

    If all sequences fit into one batch they keep their order, so that the forward pass is bit-identical whatever
    `most` is.

    Args:
        lengths: tokens of each sequence.
        most: most padded tokens per batch.

    Returns:
        The rows of each batch.
    """
    rows = list(range(len(lengths)))
    if len(rows) * max(lengths, default=0) > most:
        rows.sort(key=lambda row: -lengths[row])
    return list(padded_batches(rows, lengths.__getitem__, most))
