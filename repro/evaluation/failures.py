"""Failure rates that stand beside every accuracy: unparsed, truncated, and repeating completions."""

from collections.abc import Sequence

MIN_REPEATS = 4
MIN_SPAN_TOKENS = 8


def repeats(token_ids: Sequence[int]) -> bool:
    """Whether some span of tokens comes at least 4 times in a row and so fills at least 8 tokens (a decoding loop)."""
    n = len(token_ids)
    for period in range(1, n // MIN_REPEATS + 1):
        needed = max(MIN_REPEATS * period, MIN_SPAN_TOKENS)
        matched = 0
        for i in range(period, n):
            matched = matched + 1 if token_ids[i] == token_ids[i - period] else 0
            if matched + period >= needed:
                return True
    return False
