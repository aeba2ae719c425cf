"""Batches of sequences, bounded by their padded tokens."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

SequenceT = TypeVar("SequenceT")

FORWARD_TOKENS = 16_384
"""Padded tokens of one forward pass without gradients: a bound on memory; it changes results by rounding only."""
BACKWARD_TOKENS = 1024
"""The same of a backward pass in little memory (`distillation.loss_gradient.lean_gradient`)."""


def padded_batches(
    sequences: Iterable[SequenceT], length: Callable[[SequenceT], int], most: int | None = None
) -> Iterator[list[SequenceT]]:
    """Group neighbouring sequences, at most `most` padded tokens a batch (a longer sequence is a batch).

    Args:
        length: of one sequence, tokens.
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
    """Group sequences of similar length, the longest first: what does not fit fails at once.

    If all of them fit into one batch they stay in their order, so that their forward pass is the same to the last bit
    whatever `most`.

    Args:
        lengths: tokens of each sequence.
        most: padded tokens of a batch.

    Returns:
        The rows of each batch.
    """
    rows = list(range(len(lengths)))
    if len(rows) * max(lengths, default=0) > most:
        rows.sort(key=lambda row: -lengths[row])
    return list(padded_batches(rows, lengths.__getitem__, most))
