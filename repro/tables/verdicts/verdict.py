"""Verdicts: test each claim of a study on a run's measurements. Pure statistics; reads no result file.

A claim is tested on the mean over its tasks, weighted equally regardless of their number of items. Holm's correction
covers all premises and claims of one call (all families together) and, separately, our controls.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from repro.errors import InputError
from repro.printed.claims import Claim
from repro.printed.load import PaperTable, load_claims
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.statistics.bounds import bounded
from repro.tables.statistics.decision import RequiredData, decide, holm, interval, is_capped, p_value, required_data
from repro.tables.statistics.resampling import Contrast, Estimate, Resamples
from repro.tables.verdicts.cells import judge_cells
from repro.tables.verdicts.contrasts import Comparison, region_of
from repro.tables.verdicts.equality import describe_equality, is_equality, is_too_close
from repro.tables.verdicts.prepare import NOT_RUN, prepare, untested_verdict
from repro.tables.verdicts.sentences import verdict_sentence
from repro.tables.verdicts.verdict_types import CellVerdict, ClaimVerdict, TaskEvidence, VerdictReport

HOURS = frozenset({"core_hours", "gpu_hours"})
"""Metrics with a study's eta values as items instead of prompts: more of them cannot be sampled."""


@dataclass(frozen=True)
class _Tested:
    claim: Claim
    family: str
    rival: str
    contrast: Contrast
    estimate: Estimate
    p: float
    comparisons: int  # number of tests the p was corrected for
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
        missing: the treatment of a claim of the paper whose rows were not run: an InputError that names them, or the
            verdict "inconclusive". A control whose rows were not run is left out and named in `skipped`.

    Raises:
        InputError: a result of another study, families of different scale or seeds, missing rows.
    """
    tables = [measured] if isinstance(measured, MeasuredTable) else list(measured)
    _check_tables(tables, stored)
    claims = load_claims(stored.id) if claims is None else claims
    tested: list[_Tested] = []
    verdicts: dict[tuple[str, str], ClaimVerdict] = {}
    skipped: list[str] = []
    for table in tables:
        runnable: list[tuple[Claim, list[Comparison]]] = []
        for claim in claims:
            prepared = prepare(claim, table, stored, alpha, resamples, seed)
            skipped += prepared.notes
            if prepared.comparisons:
                runnable.append((claim, prepared.comparisons))
            elif prepared.untested is not None:
                if prepared.untested.value == "inconclusive" and missing == "error":
                    raise InputError(
                        f"result of {table.study}, {table.family}: {prepared.untested.text.removeprefix(NOT_RUN)}, which claim {claim.id!r}"
                        " needs. Run that row."
                    )
                verdicts[claim.id, table.family] = prepared.untested
        keys = chain.from_iterable(comparison.contrast for _, comparisons in runnable for comparison in comparisons)
        draws = Resamples(table, keys, resamples, seed)
        tested += [_test(claim, comparisons, draws) for claim, comparisons in runnable]
    verdicts |= {(conclusion.claim, conclusion.family): conclusion for conclusion in _conclude_all(tested, alpha)}
    cells: list[CellVerdict] = []
    if tables[0].scale == "paper":
        for table in tables:
            judged = judge_cells(table, stored, alpha, resamples, seed)
            cells += judged
            if not judged:
                skipped.append(f"cells of {table.family}: {stored.path.name} has none on {', '.join(table.tasks)}")
    order = [(claim.id, table.family) for table in tables for claim in claims]
    return VerdictReport(
        study=stored.id,
        scale=tables[0].scale,
        families=tuple(table.family for table in tables),
        seeds=tables[0].seeds,
        alpha=alpha,
        resamples=resamples,
        seed=seed,
        claims=tuple(verdicts[key] for key in order if key in verdicts),
        cells=tuple(cells),
        skipped=tuple(skipped),
    )


def _check_tables(tables: list[MeasuredTable], stored: PaperTable) -> None:
    if not tables:
        raise InputError("no measured table: nothing to judge.")
    for table in tables:
        name = f"result of {table.study}, {table.family}"
        if table.study != stored.id:
            raise InputError(f"{name}: cannot be judged against {stored.path.name}, which is another study.")
        if not table.values:
            raise InputError(f"{name}: has no cells.")
        if (table.scale, table.seeds) != (tables[0].scale, tables[0].seeds):
            raise InputError(f"{name}: scale or seeds differ from {tables[0].family}'s; judge the families separately.")
    if len({table.family for table in tables}) < len(tables):
        raise InputError(f"result of {stored.id}: two tables of one family; merge its seeds into one table first.")


def _test(claim: Claim, comparisons: list[Comparison], draws: Resamples) -> _Tested:
    """Test a claim's comparisons together: `exists` needs any in its region, other kinds all of them.

    If all must agree, the largest p decides (intersection-union); if any one suffices, the smallest p times their
    number (Bonferroni). So an ordering against three rivals is hard to reproduce and no easier to contradict.
    """
    region = region_of(claim)
    estimates = [draws.estimate(comparison.contrast, claim.training) for comparison in comparisons]
    p_values = [p_value(estimate, region) for estimate in estimates]
    inside = [n for n, estimate in enumerate(estimates) if region.contains(estimate.value)]
    outside = [n for n in range(len(comparisons)) if n not in inside]
    sufficient = inside if claim.kind == "exists" else outside
    if sufficient:
        deciding = min(sufficient, key=lambda n: p_values[n])
        corrected_for = len(comparisons)
    else:
        deciding = max(range(len(comparisons)), key=lambda n: p_values[n])
        corrected_for = 1
    return _Tested(
        claim=claim,
        family=draws.measured.family,
        rival=comparisons[deciding].rival,
        contrast=comparisons[deciding].contrast,
        estimate=estimates[deciding],
        p=min(1.0, corrected_for * p_values[deciding]),
        comparisons=corrected_for,
        tasks=tuple(_evidence(left, right, draws, claim.training) for left, right in comparisons[deciding].pairs),
    )


def _evidence(left: CellKey, right: CellKey | None, draws: Resamples, training: bool) -> TaskEvidence:
    contrast = {left: 1.0} if right is None else {left: 1.0, right: -1.0}
    estimate = draws.estimate(contrast, training)
    return TaskEvidence(
        task=left[1],
        metric=left[2],
        left=draws.measured.mean(*left),
        right=None if right is None else draws.measured.mean(*right),
        estimate=estimate.value,
        se=estimate.se,
        interval=bounded(contrast, interval(estimate, 0.05)),
        items=estimate.items,
    )


def _conclude_all(tested: list[_Tested], alpha: float) -> Iterator[ClaimVerdict]:
    """Apply Holm's correction to claims and controls separately, and decide each test at its own level."""
    for is_control in (False, True):
        group = [test for test in tested if (test.claim.role == "control") == is_control]
        adjusted, levels = holm([test.p for test in group], alpha)
        for test, p_holm, level in zip(group, adjusted, levels, strict=True):
            yield _conclude(test, p_holm, level)


def _conclude(test: _Tested, p_holm: float, level: float) -> ClaimVerdict:
    claim, estimate, region = test.claim, test.estimate, region_of(test.claim)
    value = decide(estimate, region, test.p, level, claim.training)
    capped = test.p <= level and is_capped(estimate, region, claim.training)
    level /= test.comparisons
    required = RequiredData(None, None)
    bounds = bounded(test.contrast, interval(estimate, level))
    open_question = ""
    if value == "inconclusive":
        is_inside = claim.kind == "between" and region.contains(estimate.value)
        assumed = replace(estimate, value=(region.low + region.high) / 2) if is_inside else estimate
        required = required_data(assumed, region, level, claim.training)
        decided = "a gap of this size"
        if is_inside:
            decided = (
                "equality if there is no difference"
                if is_equality(claim)
                else "it if the difference is midway between the bounds"
            )
        open_question = required.describe(estimate, decided)
        if HOURS & set(claim.metrics):
            required, open_question = (
                RequiredData(None, None),
                "its items are the study's values of eta, so no more can be sampled",
            )
        elif not capped and is_too_close(claim, test.contrast, estimate, required):
            required, open_question = (
                RequiredData(None, None),
                describe_equality(estimate, bounds, training=claim.training),
            )
        if not required.is_realistic:
            required = RequiredData(None, None)
    text = verdict_sentence(claim, value, estimate, bounds, test.rival, capped, open_question)
    return replace(
        untested_verdict(claim, test.family, text, level, estimate.seeds),
        value=value,
        estimate=estimate.value,
        se=estimate.se,
        rival=test.rival,
        interval=bounds,
        interval95=bounded(test.contrast, interval(estimate, 0.05)),
        p=test.p,
        p_holm=p_holm,
        items=estimate.items,
        capped=capped,
        open_question=open_question,
        needed_items=required.items,
        needed_seeds=required.seeds,
        tasks=test.tasks,
    )
