"""Accuracy, maj@k and pass@k of one prompt's answers. Pure functions; callers average over prompts.

An answer is the normalised answer of a completion, or None if it states none (a parse failure).
"""

from collections import Counter
from collections.abc import Sequence
from math import comb

Answer = str | None


def accuracy(answers: Sequence[Answer], key: str) -> float:
    """Return the share of completions whose answer is the key."""
    _check(answers)
    return sum(answer == key for answer in answers) / len(answers)


def maj_at_k(answers: Sequence[Answer], key: str) -> float:
    """Return the expected correctness of the majority answer of all k completions.

    Ties count as a uniform choice among the tied answers, so the order of samples is irrelevant. Unparsed completions
    never win; if no answer was parsed, the majority is wrong.
    """
    _check(answers)
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0.0
    max_votes = max(votes.values())
    tied = [answer for answer, count in votes.items() if count == max_votes]
    return (key in tied) / len(tied)


def pass_at_k(answers: Sequence[Answer], key: str, k: int | None = None) -> float:
    """Return the probability that at least one of k completions, sampled without replacement from n, is right.

    For k = n (the paper's pass@16 of 16 samples, and the default) this is "any right".
    """
    _check(answers)
    n, right = len(answers), sum(answer == key for answer in answers)
    k = n if k is None else k
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs 1 <= k <= {n} answers")
    return 1.0 - comb(n - right, k) / comb(n, k)


def guess_rate(keys: Sequence[str]) -> float:
    """Return the expected score of answering each question with the key of another one, drawn at random.

    This is the score of a model that has learnt which answers occur but not to read the question: 1/8 if eight answers
    are equally frequent, 0 if no two questions have the same answer. keys: one per question, at least two.
    """
    if len(keys) < 2:
        raise ValueError("chance needs two or more keys")
    equal_pairs = sum(count * (count - 1) for count in Counter(keys).values())
    return equal_pairs / (len(keys) * (len(keys) - 1))


def _check(answers: Sequence[Answer]) -> None:
    if not answers:
        raise ValueError("no answers: a metric of zero completions is undefined")
