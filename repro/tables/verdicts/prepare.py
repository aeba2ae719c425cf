"""A claim before any test: its comparisons, or a verdict without one: its rows were not run, or it has nothing to be tested on."""

from dataclasses import dataclass, field, replace
from math import isinf

from repro.printed.claims import Claim
from repro.printed.load import PaperTable
from repro.tables.measured_table import MeasuredTable
from repro.tables.verdicts.contrasts import Comparison, comparisons_of, region_of
from repro.tables.verdicts.floor import split_at_chance
from repro.tables.verdicts.sentences import claim_in_symbols
from repro.tables.verdicts.verdict_types import IDLE, ClaimVerdict

NOT_RUN = "inconclusive: not run, "


@dataclass(frozen=True)
class Prepared:
    """A claim before any test: its comparisons, or its verdict without a test, or neither; and notes for `skipped`."""

    comparisons: list[Comparison] = field(default_factory=list)
    untested: ClaimVerdict | None = None
    notes: tuple[str, ...] = ()


def prepare(
    claim: Claim, table: MeasuredTable, stored: PaperTable, alpha: float, resamples: int, seed: int
) -> Prepared:
    """Find what a claim compares in a table, or conclude without a test."""
    name = f"{claim.id} ({table.family})"
    if claim.printed_scale and table.scale != "paper":
        return Prepared(notes=(f"{name}: a printed magnitude, tested at paper scale alone",))
    comparisons = comparisons_of(claim, table, stored)
    if isinstance(comparisons, str):
        if claim.role == "control":
            return Prepared(notes=(f"{name}: {comparisons}",))
        text = f"{NOT_RUN}{comparisons}"
        return Prepared(untested=untested_verdict(claim, table.family, text, alpha, len(table.seeds)))
    comparisons, idle = drop_idle(claim, comparisons, table)
    if not comparisons:
        conclusion = replace(untested_verdict(claim, table.family, idle, alpha, len(table.seeds)), value="not testable")
        return Prepared(untested=conclusion)
    if claim.kind != "collapse":
        return Prepared(comparisons)
    above, at_chance = split_at_chance(comparisons, table, resamples, seed)
    notes = (f"{name}, on tasks at chance before: {at_chance}",) if at_chance else ()
    if not above:
        text = f"not testable: {claim.left.row} is at chance on every task, {at_chance}"
        conclusion = replace(untested_verdict(claim, table.family, text, alpha, len(table.seeds)), value="not testable")
        return Prepared(untested=conclusion)
    remaining = comparisons_of(claim, table, stored, above)
    assert not isinstance(remaining, str)
    return Prepared(remaining, notes=notes)


def drop_idle(claim: Claim, comparisons: list[Comparison], table: MeasuredTable) -> tuple[list[Comparison], str]:
    """Return the comparisons that rest on no idle row, and what the others lack, in words.

    A claim about some cell looks at the others; any other claim has no comparison left if one of its rows is idle. A curve
    is not tested here: that an eta moves nothing is a point of it.
    """
    if claim.kind in ("trend", "monotone"):
        return comparisons, ""
    idle = {row: reason for c in comparisons for row, _, _ in c.contrast if (reason := table.idleness(row))}
    if not idle:
        return comparisons, ""
    left = (
        [c for c in comparisons if not any(row in idle for row, _, _ in c.contrast)] if claim.kind == "exists" else []
    )
    rows = dict.fromkeys(idle.values())
    reasons = "; ".join(f"{' and '.join(row for row in idle if idle[row] == reason)}: {reason}" for reason in rows)
    return left, f"{IDLE}{reasons}"


def untested_verdict(claim: Claim, family: str, text: str, level: float, seeds: int) -> ClaimVerdict:
    """Return the verdict of a claim without any test: inconclusive, with what the stored claim says."""
    region = region_of(claim)
    return ClaimVerdict(
        claim=claim.id,
        family=family,
        role=claim.role,
        kind=claim.kind,
        training=claim.training,
        statement=claim_in_symbols(claim),
        text=text,
        region=(_finite_or_none(region.low), _finite_or_none(region.high)),
        margin=claim.margin,
        level=level,
        seeds=seeds,
        quote=claim.quote,
        section=claim.section,
        provenance=claim.provenance,
        paper_bears_out=claim.paper.bears_out,
        paper_held=claim.paper.held,
        paper_of=claim.paper.of,
    )


def _finite_or_none(edge: float) -> float | None:
    return None if isinf(edge) else edge
