"""The cases: each a tiny batch, what is right by enumeration, and the public thread where a loss got it wrong."""

from repro.conformance.suite import divergences, masks, numerics, reductions, top_k, vocabularies
from repro.conformance.suite.case import Case

GROUPS = {
    "divergence": divergences.CASES,
    "what counts": masks.CASES,
    "reduction": reductions.CASES,
    "vocabulary": vocabularies.CASES,
    "truncation": top_k.CASES,
    "numerics": numerics.CASES,
}


def cases() -> tuple[Case, ...]:
    """Return all cases in their order."""
    return tuple(case for group in GROUPS.values() for case in group)


__all__ = ["GROUPS", "Case", "cases"]
