"""Repetition search: find a decoding loop in a completion."""

from collections.abc import Sequence
from typing import Any

import numpy as np

MIN_REPEATS = 4
MIN_SPAN_TOKENS = 8
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_SHIFT = np.uint64(31)


def has_repeated_span(token_ids: Sequence[int] | np.ndarray) -> bool:
    """Return True if a span of tokens occurs at least 4 times in a row over at least 8 tokens (a decoding loop).

    Spans of w to 2w - 1 tokens (w = 1, 2, 4, ...) are searched together. Four consecutive spans of p tokens contain, at
    some multiple i of p, three equal blocks of w tokens: at i - p, i and i + p. Blocks are compared by hash, and near
    each match the tokens are compared. If no shorter span occurs four times in a row, matches are runs of more than
    2.5 p, of which T tokens have fewer than T, so the time is about T log T for any input.
    """
    if len(token_ids) < MIN_SPAN_TOKENS or _is_varied(token_ids):
        return False
    ids_T = np.asarray(token_ids, dtype=np.int64)
    hash_T = ids_T.astype(np.uint64) * _ODD[0]  # of the blocks of w tokens that begin at each token
    longest, w = len(ids_T) // MIN_REPEATS, 1
    while w <= longest:
        periods, positions = _candidates(np.arange(w, min(2 * w, longest + 1)), len(hash_T))
        block_hash = hash_T[positions]
        matches = (block_hash == hash_T[positions - periods]) & (block_hash == hash_T[positions + periods])
        if any(_is_repeated(ids_T, int(p), int(i)) for p, i in zip(periods[matches], positions[matches])):
            return True
        pairs_T = hash_T[:-w] * _ODD[1] + hash_T[w:]
        hash_T = (pairs_T ^ (pairs_T >> _SHIFT)) * _ODD[0]
        w *= 2
    return False


def _is_varied(token_ids: Sequence[int] | np.ndarray) -> bool:
    """Return True if there are too many distinct tokens for a repeated span; a shortcut for most short completions.

    Four consecutive spans of p tokens leave at most T - 3 p distinct ones, at least 6 fewer than T; for p = 1, eight
    repeats leave 7 fewer.
    """
    most_distinct = len(token_ids) - (MIN_REPEATS - 1) * MIN_SPAN_TOKENS // MIN_REPEATS
    return len(set(token_ids)) > most_distinct


def _candidates(spans: Any, blocks: int) -> tuple[Any, Any]:
    """Return every span p with each of its multiples i for which there are blocks at i - p and i + p."""
    counts = np.maximum((blocks - 1) // spans - 1, 0)
    periods = np.repeat(spans, counts)
    multiples = np.arange(len(periods)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return periods, periods * multiples


def _is_repeated(ids_T: Any, period: int, position: int) -> bool:
    """Return True if enough consecutive tokens near a position equal the token one period earlier."""
    needed = max(MIN_REPEATS * period, MIN_SPAN_TOKENS) - period
    start, end = max(period, position - needed), min(len(ids_T), position + needed)
    differs = np.flatnonzero(ids_T[start:end] != ids_T[start - period : end - period])
    return bool(np.diff(differs, prepend=-1, append=end - start).max() > needed)
