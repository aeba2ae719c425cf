"""Batches of sequences for forward passes without gradients, bounded by their padded tokens."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

SequenceT = TypeVar("SequenceT")

FORWARD_TOKENS = 16_384
"""Padded tokens of one forward pass: a bound on memory; it changes results by rounding only."""


def padded_batches(sequences: Iterable[SequenceT], length: Callable[[SequenceT], int]) -> Iterator[list[SequenceT]]:
    """Group neighbouring sequences, at most `FORWARD_TOKENS` padded tokens a batch (a longer sequence is a batch).

    Args:
        length: of one sequence, tokens.
    """
    batch: list[SequenceT] = []
    longest = 0
    for sequence in sequences:
        tokens = length(sequence)
        if batch and max(longest, tokens) * (len(batch) + 1) > FORWARD_TOKENS:
            yield batch
            batch, longest = [], 0
        batch.append(sequence)
        longest = max(longest, tokens)
    if batch:
        yield batch
