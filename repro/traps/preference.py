"""Wrong-trace preference (the percentages of Tables 1 and 4): how often the teacher prefers a wrong trace.

The paper's wrong traces "end in wrong answers"; traces that never answer are counted separately
(`count_pairs_by_ending`). A pair is a wrong and a correct completion of the same prompt. The wrong one is preferred if
its sequence loss log p_S(y) - log p_T(y) is lower; a tie counts half. Shapes: n completions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LENGTH_TOLERANCE = 0.1
"""Traces count as nearly equal in length if they differ by at most this share of the longer one."""


@dataclass(frozen=True)
class PreferenceRate:
    """Shares between 0 and 1; NaN if there are no pairs.

    Attributes:
        pooled: share of all pairs in which the wrong trace has the lower loss.
        per_prompt: mean over prompts (with a correct and a wrong completion) of each prompt's share.
        length_only: share of all pairs in which the wrong trace is shorter: what length alone explains.
        length_matched: the pooled share among pairs of nearly equal length.
        pairs, matched_pairs, prompts: their numbers.
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
    """Compute how often the wrong trace has the lower loss in (wrong, correct) pairs of the same prompt.

    The paper does not say how it averages, so both the pooled rate and the mean over prompts are returned.

    Args:
        losses: [n] log p_S(y|x) - log p_T(y|x), nats per sequence; infinities compare as usual.
        correct: [n] true where the final answer is right.
        prompt_ids: [n] the prompt of each completion.
        lengths: [n] tokens.
        length_tolerance: a pair is length-matched if the lengths differ by at most this share of the longer.

    Raises:
        ValueError: no completions, columns of different length, NaN losses, negative lengths, or a single
            completion for every prompt.
    """
    loss_n, right_n, length_n = _columns(losses, correct, prompt_ids, lengths)
    number = {prompt: n for n, prompt in enumerate(dict.fromkeys(_plain(prompt_ids)))}
    if len(number) == len(loss_n):
        raise ValueError("one completion per prompt makes no pairs: sample two or more for each prompt")
    prompt_n = np.array([number[prompt] for prompt in _plain(prompt_ids)], dtype=np.intp)
    return count_pairs(loss_n, right_n, prompt_n, length_n, length_tolerance=length_tolerance).rate()


@dataclass(frozen=True)
class PairCounts:
    """Counts [P] of each prompt's (wrong, correct) pairs; a tie counts as half a win.

    Attributes:
        pairs: all pairs. wins: the wrong trace has the lower loss. shorter: the wrong trace is the shorter one.
        matched_pairs, matched_wins: the same among pairs of nearly equal length.
    """

    pairs: Array
    wins: Array
    shorter: Array
    matched_pairs: Array
    matched_wins: Array

    def rate(self) -> PreferenceRate:
        """Return the shares over all prompts."""
        has_pairs = self.pairs > 0
        pairs, matched_pairs = int(self.pairs.sum()), int(self.matched_pairs.sum())
        return PreferenceRate(
            pooled=_share(self.wins.sum(), pairs),
            per_prompt=float((self.wins[has_pairs] / self.pairs[has_pairs]).mean()) if pairs else float("nan"),
            length_only=_share(self.shorter.sum(), pairs),
            length_matched=_share(self.matched_wins.sum(), matched_pairs),
            pairs=pairs,
            matched_pairs=matched_pairs,
            prompts=int(has_pairs.sum()),
        )


def count_pairs(
    loss_n: Array,
    right_n: NDArray[np.bool_],
    prompt_n: NDArray[np.intp],
    length_n: Array,
    *,
    prompts: int | None = None,
    length_tolerance: float = LENGTH_TOLERANCE,
) -> PairCounts:
    """Count the pairs of every prompt, vectorised over prompts because a bootstrap calls this a thousand times.

    Args:
        prompt_n: [n] index of each completion's prompt, 0..P-1. loss_n, right_n, length_n: as in
            `wrong_trace_preference`.
        prompts: P, needed if the last prompts may have no completions.

    Raises:
        ValueError: NaN losses.
    """
    if np.isnan(loss_n).any():
        raise ValueError(f"the loss of completion {int(np.isnan(loss_n).argmax())} is NaN")
    by_prompt = np.argsort(prompt_n, kind="stable")
    wrong, right = by_prompt[~right_n[by_prompt]], by_prompt[right_n[by_prompt]]
    right_P = np.bincount(prompt_n[right], minlength=int(prompt_n.max()) + 1 if prompts is None else prompts)
    first_P = np.cumsum(right_P) - right_P
    partners = right_P[prompt_n[wrong]]  # of each wrong completion
    among_partners = np.arange(partners.sum()) - np.repeat(np.cumsum(partners) - partners, partners)
    wrong = np.repeat(wrong, partners)
    right = right[first_P[prompt_n[wrong]] + among_partners]
    a, b = length_n[wrong], length_n[right]
    win = _lower(loss_n[wrong], loss_n[right])
    matched = np.abs(a - b) <= length_tolerance * np.maximum(a, b)

    def per_prompt(value: Any) -> Array:
        return np.bincount(prompt_n[wrong], weights=value, minlength=len(right_P)).astype(np.float64)

    return PairCounts(
        pairs=per_prompt(np.ones_like(win)),
        wins=per_prompt(win),
        shorter=per_prompt(_lower(a, b)),
        matched_pairs=per_prompt(matched),
        matched_wins=per_prompt(win * matched),
    )


def count_pairs_by_ending(
    loss_n: Array,
    right_n: NDArray[np.bool_],
    answered_n: NDArray[np.bool_],
    prompt_n: NDArray[np.intp],
    length_n: Array,
) -> tuple[PairCounts, PairCounts]:
    """Count separately the pairs of a correct trace with one that ends in a wrong answer, and with one without answer.

    Args:
        answered_n: [n] true where some answer can be read. The others as in `count_pairs`.
    """
    prompts = int(prompt_n.max()) + 1

    def count(is_counted_n: NDArray[np.bool_]) -> PairCounts:
        return count_pairs(
            loss_n[is_counted_n], right_n[is_counted_n], prompt_n[is_counted_n], length_n[is_counted_n], prompts=prompts
        )

    return count(right_n | answered_n), count(right_n | ~answered_n)


def _lower(wrong: Array, right: Array) -> Array:
    """Return [pairs]: 1 where the wrong trace's value is lower, 1/2 where they are equal."""
    return (wrong < right) + 0.5 * (wrong == right)


def _share(part: float, total: int) -> float:
    return float(part) / total if total else float("nan")


def _columns(
    losses: Any, correct: Any, prompt_ids: Sequence[Any], lengths: Any
) -> tuple[Array, NDArray[np.bool_], Array]:
    loss_n = np.asarray(_plain(losses), dtype=np.float64)
    right_n = np.asarray(_plain(correct), dtype=bool)
    length_n = np.asarray(_plain(lengths), dtype=np.float64)
    sizes = (len(loss_n), len(right_n), len(prompt_ids), len(length_n))
    if len(set(sizes)) > 1 or not sizes[0]:
        raise ValueError(f"losses, correct, prompt ids and lengths must be of the same n >= 1 completions, not {sizes}")
    if not (length_n >= 0).all():
        raise ValueError("a completion's length is negative or NaN")
    return loss_n, right_n, length_n


def _plain(x: Any) -> Any:
    return x.tolist() if hasattr(x, "tolist") else x
