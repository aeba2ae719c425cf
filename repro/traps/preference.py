"""Wrong-trace preference (the percentages of Tables 1 and 4): how often the teacher likes a wrong trace better.

A pair is a wrong and a correct completion of the same prompt. The wrong one is preferred where its sequence loss
log p_S(y) - log p_T(y) is the lower; a tie counts half. Shapes: n completions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH_TOLERANCE = 0.1
"""Two traces are of nearly equal length where they differ by at most this share of the longer."""


@dataclass(frozen=True)
class PreferenceRate:
    """Shares between 0 and 1; NaN where no pair stands behind one.

    Attributes:
        pooled: share of all pairs in which the wrong trace has the lower loss.
        per_prompt: mean over prompts (with a correct and a wrong completion) of each prompt's share.
        length_only: share of all pairs in which the wrong trace is the shorter one: what length alone explains.
        length_matched: the pooled share among pairs of nearly equal length.
        pairs, matched_pairs, prompts: how many stand behind.
    """

    pooled: float
    per_prompt: float
    length_only: float
    length_matched: float
    pairs: int
    matched_pairs: int
    prompts: int


def wrong_trace_preference(
    losses: Any, correct: Any, prompt_ids: Sequence[Any], lengths: Any, *, length_tolerance: float = LENGTH_TOLERANCE
) -> PreferenceRate:
    """Among (wrong, correct) pairs of one prompt, how often the wrong one has the lower loss.

    The paper does not state its averaging: both the pooled rate and the mean over prompts are given.

    Args:
        losses: [n] log p_S(y|x) - log p_T(y|x), nats per sequence; infinities compare as usual.
        correct: [n] true where the final answer is right.
        prompt_ids: [n] which prompt each completion answers.
        lengths: [n] tokens.
        length_tolerance: a pair is length-matched where the lengths differ by at most this share of the longer.

    Raises:
        ValueError: no completions, columns of different length, NaN losses, negative lengths, or a single
            completion for every prompt.
    """
    loss_n, right_n, length_n = _columns(losses, correct, prompt_ids, lengths)
    groups = list(_groups(prompt_ids))
    if max(len(rows) for rows in groups) < 2:
        raise ValueError("one completion per prompt makes no pairs: sample two or more for each prompt")
    wins = shorter = matched_wins = 0.0
    pairs = matched_pairs = 0
    shares: list[float] = []
    for rows in groups:
        right, wrong = rows[right_n[rows]], rows[~right_n[rows]]
        if not len(right) or not len(wrong):
            continue
        win = _lower(loss_n[wrong], loss_n[right])
        a, b = length_n[wrong][:, None], length_n[right][None, :]
        matched = np.abs(a - b) <= length_tolerance * np.maximum(a, b)
        wins, pairs = wins + win.sum(), pairs + win.size
        shorter += _lower(length_n[wrong], length_n[right]).sum()
        matched_wins, matched_pairs = matched_wins + win[matched].sum(), matched_pairs + int(matched.sum())
        shares.append(float(win.mean()))
    return PreferenceRate(
        pooled=_share(wins, pairs),
        per_prompt=_share(sum(shares), len(shares)),
        length_only=_share(shorter, pairs),
        length_matched=_share(matched_wins, matched_pairs),
        pairs=pairs,
        matched_pairs=matched_pairs,
        prompts=len(shares),
    )


def _lower(wrong: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """[wrong, right] 1 where the wrong trace's value is lower, 1/2 where they are equal."""
    return (wrong[:, None] < right[None, :]) + 0.5 * (wrong[:, None] == right[None, :])


def _share(part: float, whole: int) -> float:
    return float(part) / whole if whole else float("nan")


def _groups(prompt_ids: Sequence[Any]) -> Iterator[NDArray[np.intp]]:
    rows: dict[Any, list[int]] = {}
    for row, prompt in enumerate(_plain(prompt_ids)):
        rows.setdefault(prompt, []).append(row)
    return (np.array(group) for group in rows.values())


def _columns(
    losses: Any, correct: Any, prompt_ids: Sequence[Any], lengths: Any
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    loss_n = np.asarray(_plain(losses), dtype=np.float64)
    right_n = np.asarray(_plain(correct), dtype=bool)
    length_n = np.asarray(_plain(lengths), dtype=np.float64)
    sizes = (len(loss_n), len(right_n), len(prompt_ids), len(length_n))
    if len(set(sizes)) > 1 or not sizes[0]:
        raise ValueError(f"losses, correct, prompt ids and lengths must be of the same n >= 1 completions, not {sizes}")
    if np.isnan(loss_n).any():
        raise ValueError(f"the loss of completion {int(np.isnan(loss_n).argmax())} is NaN")
    if not (length_n >= 0).all():
        raise ValueError("a completion's length is negative or NaN")
    return loss_n, right_n, length_n


def _plain(x: Any) -> Any:
    return x.tolist() if hasattr(x, "tolist") else x
