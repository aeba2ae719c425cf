"""Every loss of the kit by enumeration: sums over five tokens in 40 digits, and gradients from differences of them.

Nothing here uses torch's arithmetic or the kit's formulas. A sequence is a list of positions; a position has the logits of
student, teacher and reference, five each, and the realised token.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import mpmath
from mpmath import mpf

Row = list[mpf]


@dataclass(frozen=True)
class Position:
    student: Row
    teacher: Row
    reference: Row
    token: int


@dataclass(frozen=True)
class Sequence:
    positions: list[Position]
    reward: float


def probabilities(logits: Row) -> Row:
    total = mpmath.fsum(mpmath.exp(z) for z in logits)
    return [mpmath.exp(z) / total for z in logits]


def kl(p: Row, q: Row) -> mpf:
    return mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q))


def entropy(p: Row) -> mpf:
    return -mpmath.fsum(a * mpmath.log(a) for a in p)


def of_both(formula: Callable[[Row, Row], mpf]) -> Callable[[Position], mpf]:
    return lambda position: formula(probabilities(position.student), probabilities(position.teacher))


def jsd(beta: float) -> Callable[[Position], mpf]:
    def formula(s: Row, t: Row) -> mpf:
        m = [beta * b + (1 - beta) * a for a, b in zip(s, t)]
        return beta * kl(t, m) + (1 - beta) * kl(s, m)

    return of_both(formula)


def entropy_gated(threshold: float) -> Callable[[Position], mpf]:
    return of_both(lambda s, t: kl(s, t) + (kl(t, s) if entropy(t) > threshold else 0))


def anchored(beta: float) -> Callable[[Position], mpf]:
    def formula(position: Position) -> mpf:
        s, t, r = (probabilities(row) for row in (position.student, position.teacher, position.reference))
        return kl(s, t) + beta * kl(s, r)

    return formula


def top_k(k: int, *, tail: bool) -> Callable[[Position], mpf]:
    def formula(s: Row, t: Row) -> mpf:
        best = sorted(range(5), key=lambda v: -t[v])[:k]
        pairs = [(s[v], t[v]) for v in best]
        if tail and k < 5:
            pairs.append(tuple(mpmath.fsum(p[v] for v in range(5) if v not in best) for p in (s, t)))  # type: ignore[arg-type]
        totals = (mpf(1), mpf(1)) if tail else tuple(mpmath.fsum(pair[n] for pair in pairs) for n in (0, 1))
        return kl([a / totals[0] for a, _ in pairs], [b / totals[1] for _, b in pairs])

    return of_both(formula)


def first_share(share: float) -> Callable[[Sequence], list[int]]:
    def weights(sequence: Sequence) -> list[int]:
        length = len(sequence.positions)
        return [int(t < mpmath.ceil(mpf(str(share)) * length)) for t in range(length)]

    return weights


def forks(share: float) -> Callable[[Sequence], list[int]]:
    def weights(sequence: Sequence) -> list[int]:
        order = sorted(
            range(len(sequence.positions)), key=lambda t: -entropy(probabilities(sequence.positions[t].student))
        )
        chosen = order[: int(mpmath.ceil(mpf(str(share)) * len(order)))]
        return [int(t in chosen) for t in range(len(order))]

    return weights


def gate(sequence: Sequence) -> list[int]:
    gap = mpmath.fsum(
        mpmath.log(probabilities(p.student)[p.token] / probabilities(p.teacher)[p.token]) for p in sequence.positions
    )
    return [int(not (sequence.reward == 0 and gap < 0))] * len(sequence.positions)


def all_tokens(sequence: Sequence) -> list[int]:
    return [1] * len(sequence.positions)


REVERSE = of_both(lambda s, t: kl(s, t))
ORACLES: dict[str, tuple[Callable[[Position], mpf], Callable[[Sequence], list[int]]]] = {
    "fkl": (of_both(lambda s, t: kl(t, s)), all_tokens),
    "rkl": (REVERSE, all_tokens),
    "jsd": (jsd(0.5), all_tokens),
    "jsd(beta=0.2)": (jsd(0.2), all_tokens),
    "entropy-gated(threshold=1.2)": (entropy_gated(1.2), all_tokens),
    "reference-anchored(beta=0.3)": (anchored(0.3), all_tokens),
    "top-k-tail(k=2)": (top_k(2, tail=True), all_tokens),
    "top-k-tail(k=1)": (top_k(1, tail=True), all_tokens),
    "top-k-tail(k=9)": (REVERSE, all_tokens),
    "top-k(k=3)": (top_k(3, tail=False), all_tokens),
    "prefix-cut": (REVERSE, first_share(0.5)),
    "prefix-cut(share=0.7)": (REVERSE, first_share(0.7)),
    "forks-only(share=0.4)": (REVERSE, forks(0.4)),
    "wrong-trace-gate": (REVERSE, gate),
}
"""The text of a loss to its divergence of a position and its weights of a sequence."""


@mpmath.workdps(40)
def value(name: str, sequences: list[Sequence]) -> mpf:
    """The sum over all positions of weight times divergence, over the number of positions."""
    divergence, weights = ORACLES[name]
    tokens = sum(len(sequence.positions) for sequence in sequences)
    return (
        mpmath.fsum(
            weight * divergence(position)
            for sequence in sequences
            for weight, position in zip(weights(sequence), sequence.positions)
            if weight
        )
        / tokens
    )


@mpmath.workdps(40)
def gradient(name: str, sequences: list[Sequence]) -> list[list[Row]]:
    """The derivative of `value` with respect to each student logit; weights are numbers."""
    divergence, weights = ORACLES[name]
    tokens = sum(len(sequence.positions) for sequence in sequences)

    def slope(position: Position, v: int) -> mpf:
        def moved(z: mpf) -> mpf:
            return divergence(replace(position, student=[*position.student[:v], z, *position.student[v + 1 :]]))

        return mpmath.diff(moved, position.student[v])

    return [
        [
            [weight * slope(position, v) / tokens if weight else mpf(0) for v in range(5)]
            for weight, position in zip(weights(sequence), sequence.positions)
        ]
        for sequence in sequences
    ]
