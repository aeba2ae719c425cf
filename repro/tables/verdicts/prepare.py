"""Prepare a claim for testing: its comparisons, or a verdict without a test (rows not run, or nothing to test)."""

from dataclasses import dataclass, field, replace
from math import isinf

from repro.printed.claims import Claim
from repro.printed.load import PaperTable
from repro.tables.guard_metrics import GAIN, GAIN_PER_1000, IDLE_FLOOR, has_idle_gain
from repro.tables.measured_table import MeasuredTable
from repro.tables.metric_names import metric_name
from repro.tables.verdicts.contrasts import Comparison, comparisons_of, region_of
from repro.tables.verdicts.floor import has_gain, is_above_zero, split_at_chance
from repro.tables.verdicts.sentences import claim_in_symbols
from repro.tables.verdicts.verdict_types import IDLE, ClaimVerdict

NOT_RUN = "inconclusive: not run, "


@dataclass(frozen=True)
class Prepared:
    """A claim before testing: its comparisons, or a verdict without a test, or neither; plus notes for `skipped`."""

    comparisons: list[Comparison] = field(default_factory=list)
    untested: ClaimVerdict | None = None
    notes: tuple[str, ...] = ()


def prepare(
    claim: Claim, table: MeasuredTable, stored: PaperTable, alpha: float, resamples: int, seed: int
) -> Prepared:
    """Find what a claim compares in a table, or conclude without a test."""
    name = f"{claim.id} ({table.family})"
    if claim.printed_scale and table.scale != "paper":
        return Prepared(notes=(f"{name}: states a printed magnitude, so it is tested at paper scale only",))
    comparisons = comparisons_of(claim, table, stored)
    if isinstance(comparisons, str):
        if idle_students := _idle_students(claim, table):
            reason = f"moved less than {IDLE_FLOOR:g} nats per token, or the teacher under their guard did"
            return _not_testable(claim, table, f"{IDLE}{', '.join(idle_students)}: {reason}", alpha)
        if claim.role == "control":
            return Prepared(notes=(f"{name}: {comparisons}",))
        text = f"{NOT_RUN}{comparisons}"
        return Prepared(untested=untested_verdict(claim, table.family, text, alpha, len(table.seeds)))
    comparisons, idle = drop_idle(claim, comparisons, table, stored)
    if not comparisons:
        return _not_testable(claim, table, f"{IDLE}{idle}", alpha)
    left_out = f"{name}: {'cells' if claim.kind == 'exists' else 'tasks'} left out because"
    notes: tuple[str, ...] = (f"{left_out} idle: {idle}",) if idle else ()
    gained = [right for _, right in comparisons[0].pairs]
    if claim.kind == "recovers" and not is_above_zero(gained, table, resamples, seed):
        metric = metric_name(claim.right[0].metric or claim.metrics[0])
        text = f"not testable: {claim.right[0].row} has no {metric} to recover"
        return _not_testable(claim, table, text, alpha, notes)
    is_compared = bool(claim.right)  # a bound on a single side holds without a gain too
    if is_compared and GAIN_PER_1000 in claim.metrics and not has_gain(comparisons, table, resamples, seed):
        rows = dict.fromkeys(row for comparison in comparisons for row, _, _ in comparison.contrast)
        text = f"not testable: no gain in {' or '.join(rows)} to divide by queries"
        return _not_testable(claim, table, text, alpha, notes)
    if claim.kind != "collapse":
        return Prepared(comparisons, notes=notes)
    above, at_chance = split_at_chance(comparisons, table, resamples, seed)
    notes += (f"{left_out} {claim.left.row} is at chance: {at_chance}",) if at_chance else ()
    if not above:
        text = f"not testable: {claim.left.row} is at chance on every task{' that is not idle' if idle else ''}, {at_chance}"
        return _not_testable(claim, table, text, alpha, notes)
    remaining = comparisons_of(claim, table, stored, above)
    assert not isinstance(remaining, str)
    return Prepared(remaining, notes=notes)


def _idle_students(claim: Claim, table: MeasuredTable) -> list[str]:
    """Return the rows of a claim about gains that have none because nothing has moved."""
    if not {GAIN, GAIN_PER_1000}.intersection(claim.metrics):
        return []
    return [ref.row for ref in (claim.left, *claim.right) if has_idle_gain(table, ref.row)]


def drop_idle(
    claim: Claim, comparisons: list[Comparison], table: MeasuredTable, stored: PaperTable
) -> tuple[list[Comparison], str]:
    """Drop comparisons that rest on an idle row; return the rest, and a description of what was dropped.

    An `exists` claim keeps its other cells; any other claim keeps the tasks on which none of its rows is idle. Curves
    are not cut: an eta that moves nothing is a valid point.
    """
    if claim.kind in ("trend", "monotone"):
        return comparisons, ""
    cells = dict.fromkeys((row, task) for comparison in comparisons for row, task, _ in comparison.contrast)
    idle = {cell: reason for cell in cells if (reason := table.idleness(*cell))}
    if not idle:
        return comparisons, ""
    if claim.kind == "exists":
        remaining = [c for c in comparisons if not any((row, task) in idle for row, task, _ in c.contrast)]
    else:
        tasks = [task for task in table.tasks if task not in {task for _, task in idle}]
        moved = comparisons_of(claim, table, stored, tasks)
        remaining = [] if isinstance(moved, str) else moved
    by_reason: dict[tuple[str, str], list[str]] = {}
    for (row, task), reason in idle.items():
        by_reason.setdefault((row, reason), []).append(task)
    lacking = [f"{row} on {', '.join(tasks)}: {reason}" for (row, reason), tasks in by_reason.items()]
    return remaining, "; ".join(lacking)


def _not_testable(claim: Claim, table: MeasuredTable, text: str, alpha: float, notes: tuple[str, ...] = ()) -> Prepared:
    conclusion = replace(untested_verdict(claim, table.family, text, alpha, len(table.seeds)), value="not testable")
    return Prepared(untested=conclusion, notes=notes)


def untested_verdict(claim: Claim, family: str, text: str, level: float, seeds: int) -> ClaimVerdict:
    """Return an untested claim's verdict: inconclusive, with the facts of the stored claim."""
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
