"""Verdicts: each claim of a study tested on what a run measured. Pure statistics; reads no result file.

A claim is tested on the mean over its tasks, tasks weighing the same whatever their number of items. Holm's
correction runs over all premises and claims of one call (all families together), and apart from them over our
controls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import isinf
from typing import Literal

from repro.errors import InputError
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.paper.claims import Claim
from repro.tables.paper.load import PaperTable, load_claims
from repro.tables.statistics.decision import Needed, capped, decide, holm, interval, needed, p_value
from repro.tables.statistics.resampling import Estimate, Resamples
from repro.tables.verdicts.cells import CellVerdict, judge_cells
from repro.tables.verdicts.contrasts import Part, parts_of, region_of
from repro.tables.verdicts.verdict_types import ClaimVerdict, TaskEvidence, VerdictReport, sentence, state


@dataclass(frozen=True)
class _Tested:
    claim: Claim
    family: str
    rival: str
    estimate: Estimate
    p: float
    comparisons: int  # that the p was corrected for
    tasks: tuple[TaskEvidence, ...]


def verdict(
    measured: MeasuredTable | Sequence[MeasuredTable],
    stored: PaperTable,
    claims: Sequence[Claim] | None = None,
    *,
    alpha: float = 0.05,
    resamples: int = 10_000,
    seed: int = 0,
    missing: Literal["error", "inconclusive"] = "error",
) -> VerdictReport:
    """Test every claim of the stored table's study on the measured tables, one per family.

    Args:
        claims: default: those that `claims.toml` has for the study.
        alpha: with every claim at its edge, the chance that any verdict is conclusive is at most this.
        seed: of the bootstrap: the same input gives the same report.
        missing: what a claim of the paper does whose rows were not run: an InputError that names them, or
            "inconclusive". A control whose rows were not run is left out and named in `skipped`.

    Raises InputError for a result of another study, for families of different scale or seeds, missing rows.
    """
    tables = [measured] if isinstance(measured, MeasuredTable) else list(measured)
    _check(tables, stored)
    chosen = list(claims) if claims is not None else load_claims(stored.id)
    tested: list[_Tested] = []
    verdicts: dict[tuple[str, str], ClaimVerdict] = {}
    skipped: list[str] = []
    for table in tables:
        runnable: list[tuple[Claim, list[Part]]] = []
        for claim in chosen:
            if claim.printed_scale and table.scale != "paper":
                skipped.append(f"{claim.id} ({table.family}): a printed magnitude, tested at paper scale alone")
                continue
            parts = parts_of(claim, table, stored)
            if not isinstance(parts, str):
                runnable.append((claim, parts))
            elif claim.role == "control":
                skipped.append(f"{claim.id} ({table.family}): {parts}")
            elif missing == "error":
                raise InputError(
                    f"result of {table.study}, {table.family}: {parts}, which claim {claim.id!r} needs. Run that row."
                )
            else:
                verdicts[claim.id, table.family] = _not_run(claim, table, parts, alpha)
        keys = chain.from_iterable(part.contrast for _, parts in runnable for part in parts)
        draws = Resamples(table, keys, resamples, seed)
        tested += [_test(claim, parts, draws) for claim, parts in runnable]
    for controls in (False, True):
        family = [t for t in tested if (t.claim.role == "control") == controls]
        adjusted, levels = holm([t.p for t in family], alpha)
        for one, p_holm, level in zip(family, adjusted, levels, strict=True):
            verdicts[one.claim.id, one.family] = _conclude(one, p_holm, level)
    cells: list[CellVerdict] = []
    for table in tables:
        if table.scale == "paper":
            own = judge_cells(table, stored, alpha, resamples, seed)
            cells += own
            if not own:
                skipped.append(f"cells of {table.family}: {stored.path.name} has none on {', '.join(table.tasks)}")
    return VerdictReport(
        study=stored.id,
        scale=tables[0].scale,
        families=tuple(t.family for t in tables),
        seeds=tables[0].seeds,
        alpha=alpha,
        resamples=resamples,
        seed=seed,
        claims=tuple(verdicts[c.id, t.family] for t in tables for c in chosen if (c.id, t.family) in verdicts),
        cells=tuple(cells),
        skipped=tuple(skipped),
    )


def _check(tables: list[MeasuredTable], stored: PaperTable) -> None:
    if not tables:
        raise InputError("no measured table: nothing to judge.")
    for table in tables:
        name = f"result of {table.study}, {table.family}"
        if table.study != stored.id:
            raise InputError(f"{name}: cannot be judged against {stored.path.name}, which is another study.")
        if not table.values:
            raise InputError(f"{name}: holds no cell.")
        if (table.scale, table.seeds) != (tables[0].scale, tables[0].seeds):
            raise InputError(f"{name}: scale or seeds differ from {tables[0].family}'s; judge the families apart.")
    if len({t.family for t in tables}) < len(tables):
        raise InputError(f"result of {stored.id}: a family is there twice; merge its seeds into one table first.")


def _test(claim: Claim, parts: list[Part], draws: Resamples) -> _Tested:
    """Test a claim's comparisons together: `exists` needs any in its region, other kinds all of them.

    Where all must agree the largest p speaks (intersection-union), where any one will do the smallest p times
    their number (Bonferroni); so an ordering against three rivals is hard to reproduce and no easier to
    contradict.
    """
    region = region_of(claim)
    estimates = [draws.estimate(part.contrast, claim.training) for part in parts]
    p_values = [p_value(estimate, region) for estimate in estimates]
    inside = [n for n, estimate in enumerate(estimates) if region.contains(estimate.value)]
    outside = [n for n in range(len(parts)) if n not in inside]
    any_one = inside if claim.kind == "exists" else outside
    if any_one:
        n = min(any_one, key=lambda i: p_values[i])
        comparisons = len(parts)
    else:
        n = max(range(len(parts)), key=lambda i: p_values[i])
        comparisons = 1
    return _Tested(
        claim=claim,
        family=draws.measured.family,
        rival=parts[n].rival,
        estimate=estimates[n],
        p=min(1.0, comparisons * p_values[n]),
        comparisons=comparisons,
        tasks=tuple(_evidence(left, right, draws, claim.training) for left, right in parts[n].pairs),
    )


def _evidence(left: CellKey, right: CellKey | None, draws: Resamples, training: bool) -> TaskEvidence:
    estimate = draws.estimate({left: 1.0} if right is None else {left: 1.0, right: -1.0}, training)
    return TaskEvidence(
        task=left[1],
        metric=left[2],
        left=draws.measured.mean(*left),
        right=None if right is None else draws.measured.mean(*right),
        estimate=estimate.value,
        se=estimate.se,
        interval=interval(estimate, 0.05),
        items=estimate.items,
    )


def _conclude(one: _Tested, p_holm: float, level: float) -> ClaimVerdict:
    claim, estimate, region = one.claim, one.estimate, region_of(one.claim)
    value = decide(estimate, region, one.p, level, claim.training)
    held_back = one.p <= level and capped(estimate, region, claim.training)
    own_level = level / one.comparisons
    need = needed(estimate, region, own_level, claim.training) if value == "inconclusive" else Needed(None, None)
    bounds = interval(estimate, own_level)
    return ClaimVerdict(
        claim=claim.id,
        family=one.family,
        role=claim.role,
        kind=claim.kind,
        training=claim.training,
        statement=state(claim),
        value=value,
        text=sentence(claim, value, estimate, bounds, one.rival, held_back, need),
        estimate=estimate.value,
        se=estimate.se,
        rival=one.rival,
        region=(_closed(region.low), _closed(region.high)),
        margin=claim.margin,
        interval=bounds,
        level=own_level,
        interval95=interval(estimate, 0.05),
        p=one.p,
        p_holm=p_holm,
        items=estimate.items,
        seeds=estimate.seeds,
        capped=held_back,
        needed_items=need.items,
        needed_seeds=need.seeds,
        quote=claim.quote,
        section=claim.section,
        provenance=claim.provenance,
        paper_bears_out=claim.paper.bears_out,
        paper_held=claim.paper.held,
        paper_of=claim.paper.of,
        tasks=one.tasks,
    )


def _not_run(claim: Claim, table: MeasuredTable, why: str, alpha: float) -> ClaimVerdict:
    region = region_of(claim)
    return ClaimVerdict(
        claim=claim.id,
        family=table.family,
        role=claim.role,
        kind=claim.kind,
        training=claim.training,
        statement=state(claim),
        value="inconclusive",
        text=f"inconclusive: not run, {why}",
        estimate=None,
        se=None,
        rival=None,
        region=(_closed(region.low), _closed(region.high)),
        margin=claim.margin,
        interval=None,
        level=alpha,
        interval95=None,
        p=None,
        p_holm=None,
        items=0,
        seeds=len(table.seeds),
        capped=False,
        needed_items=None,
        needed_seeds=None,
        quote=claim.quote,
        section=claim.section,
        provenance=claim.provenance,
        paper_bears_out=claim.paper.bears_out,
        paper_held=claim.paper.held,
        paper_of=claim.paper.of,
        tasks=(),
    )


def _closed(edge: float) -> float | None:
    return None if isinf(edge) else edge
