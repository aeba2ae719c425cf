"""Take a study from plan to verdict: run, measure, judge, and write results.json, report.html and report.md."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from repro.pipeline.cluster import Execution
from repro.pipeline.engine import Failure, join_errors
from repro.pipeline.preflight import check_access
from repro.pipeline.record import code_version
from repro.pipeline.run import run_what_succeeds
from repro.printed.claims import Claim
from repro.printed.files import stored_hashes
from repro.printed.load import load
from repro.recipes.studies import STUDIES, resolve
from repro.recipes.study import Row, Study
from repro.report.html import PAGE_FILE
from repro.report.incomplete import describe_missing
from repro.report.merge import Part, Source
from repro.report.result import FORMAT, RESULTS_FILE, MissingRow, Result, RowLine, StageLine
from repro.report.styles import answer_styles
from repro.report.terminal import print_result
from repro.report.training_history import collect_curves
from repro.report.write import write_report
from repro.stages import Stage, topological_order
from repro.stages.artifact import CACHE, RECORD, is_complete, which_cached
from repro.stages.pins import served_model_names, unpinned_inputs
from repro.stages.readable_label import with_seed
from repro.system.atomic_write import write_json
from repro.system.hardware import hardware, libraries
from repro.system.redaction import redact
from repro.tables.measurements.measure import measure
from repro.tables.own_claims import judged_claims
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import VerdictReport
from repro.workflow.contamination import check_contamination
from repro.workflow.result_folder import result_folder


@dataclass(frozen=True)
class StudyOutcome:
    """The folder of the result, and whether any claim of the paper is contradicted."""

    folder: Path
    is_contradicted: bool


def run_study(
    study: Study,
    out: Path,
    execution: Execution,
    *,
    console: Console,
    quiet: bool,
    name: str | None = None,
    claims: Sequence[Claim] = (),
) -> StudyOutcome:
    """Run the uncached stages; write results.json, report.html and report.md; print the verdicts.

    If stages fail, the others still run, and what can be measured goes into a separate result, FOLDER-incomplete.

    Args:
        name: name of the result's folder; None to derive it from the settings (`result_folder`).
        claims: the user's own claims, judged with the stored ones and kept in the result.

    Raises:
        InputError: a mistake of the user.
        StageError: a stage ended without a result.
    """
    folder = result_folder(study, out, name)
    stages = study.stages()
    check_access([stage for stage, is_cached in zip(stages, which_cached(stages, out)) if not is_cached])
    contamination = check_contamination(stages)
    failures = run_what_succeeds(stages, out, execution, console=console, quiet=quiet)
    missing: list[MissingRow] = []
    if failures:
        study, missing = _measurable(study, failures, out / CACHE)
        if not study.rows:
            raise join_errors(failures)
        folder = result_folder(study, out, name, "-incomplete")
    report = _judge_and_write(study, folder, out / CACHE, contamination, claims, missing, console)
    if failures:
        raise join_errors(failures)
    return StudyOutcome(folder, report.is_contradicted)


def _judge_and_write(
    study: Study,
    folder: Path,
    cache: Path,
    contamination: dict[str, Any],
    claims: Sequence[Claim],
    missing: Sequence[MissingRow],
    console: Console,
) -> VerdictReport:
    """Measure and judge the study's artifacts, write the result and print it; return the verdicts."""
    measured = measure(study, cache)
    stored = load(study.name)
    report = verdict(measured, stored, judged_claims(study.name, claims), missing="inconclusive")
    outcome = {"verdicts": report.to_dict(), "measured": [table.to_dict() for table in measured]}
    lacking = {"missing": missing} if missing else {}
    result = redact(
        {
            **_describe_run(study, contamination),
            **outcome,
            **_collect_results(study, cache),
            **_own_claims(claims),
            **lacking,
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULTS_FILE, result)
    part = Part((Source(folder.name, cast(Result, result)),), tuple(measured), stored, report)
    page, brief = _write_pages(study, part, cache, folder)
    if study.is_rehearsal:
        _print_rehearsal(study, missing, console)
    else:
        print_result(measured, report, console, result["styles"], result["extras"].get("matrix"), claims, missing)
    console.print(f"\nwritten: {page}, {brief}, {folder / RESULTS_FILE}", highlight=False, soft_wrap=True)
    return report


def _print_rehearsal(study: Study, missing: Sequence[MissingRow], console: Console) -> None:
    """Say what ran, without numbers."""
    kinds = Counter(stage.procedure for stage in study.stages())
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    console.print(
        f"rehearsed: {counts}. Numbers of a rehearsal mean nothing, and warnings about them are expected.",
        highlight=False,
        soft_wrap=True,
    )
    for line in describe_missing(missing):
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)


def _measurable(study: Study, failures: Sequence[Failure], cache: Path) -> tuple[Study, list[MissingRow]]:
    """Split the study into the part that can be measured and the rows that lack an artifact.

    A row that lacks one seed is dropped for all seeds, since values are compared seed by seed. A family whose remaining
    rows yield no numbers on their own (conclusions about pairs) is dropped.
    """
    reasons: dict[tuple[str, str], str] = {}
    for row in study.rows:
        needed = topological_order([row.stage])
        if any(not is_complete(cache / stage.folder_name) for stage in needed):
            reasons.setdefault((row.family, row.method), _reason(needed, failures))
    rows = tuple(row for row in study.rows if (row.family, row.method) not in reasons)
    with_numbers = {
        table.family for table in (measure(replace(study, rows=rows), cache) if rows else ()) if table.values
    }
    reason_of = {family: reason for (family, _), reason in reversed(reasons.items()) if family not in with_numbers}
    reasons |= {(row.family, row.method): reason_of[row.family] for row in rows if row.family in reason_of}
    rows = tuple(row for row in rows if row.family not in reason_of)
    missing = [MissingRow(family=family, method=method, reason=reason) for (family, method), reason in reasons.items()]
    return replace(study, rows=rows), missing


def _reason(needed: Sequence[Stage], failures: Sequence[Failure]) -> str:
    """Say which failure left a row without its artifact. needed: the row's stage and its ancestors."""
    fingerprints = {stage.fingerprint for stage in needed}
    failure = next((failure for failure in failures if failure.stage.fingerprint in fingerprints), None)
    if failure is None:
        return f"not started after {len(failures)} failures"
    return f"{with_seed(failure.stage.label, failure.stage.seed)} failed: {failure.error}"


def _own_claims(claims: Sequence[Claim]) -> dict[str, Any]:
    return {"own_claims": [claim.model_dump(mode="json") for claim in claims]} if claims else {}


def _describe_run(study: Study, contamination: dict[str, Any]) -> dict[str, Any]:
    """Describe what was run, with what, and where."""
    stages = study.stages()
    return {
        "format": FORMAT,
        "study": study.name,
        "scale": study.scale,
        "families": list(study.families),
        "tasks": list(study.tasks),
        "seeds": list(study.seeds),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": study.settings,
        "assignments": list(study.assignments),
        **({"rehearsal": True} if study.is_rehearsal else {}),
        "contamination": contamination,
        "code": code_version(),
        "unpinned": [*unpinned_inputs(stages), *served_model_names(stages)],
        "libraries": libraries(),
        "hardware": hardware(),
        "stored_files": stored_hashes(),
    }


def _collect_results(study: Study, cache: Path) -> dict[str, Any]:
    """Collect the rows, and what the reports show from the stages' artifacts."""
    entry = STUDIES[study.name]
    return {
        "rows": [_row_line(row) for row in study.rows],
        "stages": [_stage_line(stage, cache) for stage in study.stages()],
        "examples": resolve(entry.examples.function)(study, cache) if entry.examples else [],
        "curves": collect_curves(study, cache),
        "styles": answer_styles(study, cache),
        "extras": resolve(entry.extras)(study, cache) if entry.extras else {},
    }


def _write_pages(study: Study, part: Part, cache: Path, folder: Path) -> tuple[Path, Path]:
    if export := STUDIES[study.name].export:
        resolve(export)(study, part, cache, folder)
    return write_report([part], folder / PAGE_FILE)


def _row_line(row: Row) -> RowLine:
    """Return a row as stored in the result, with everything needed to measure it again."""
    line: RowLine = {"family": row.family, "method": row.method, "seed": row.seed, "artifact": row.stage.folder_name}
    if row.eta is not None:
        line["eta"] = row.eta
    if row.of is not None:
        line["of"] = row.of
    if row.guard is not None:
        line["guard"] = row.guard
    if row.plugin is not None:
        line["plugin"] = row.plugin
    return line


def _stage_line(stage: Stage, cache: Path) -> StageLine:
    """Return what one stage cost, from its record."""
    text = (cache / stage.folder_name / RECORD).read_bytes()
    record = json.loads(text)
    return {
        "artifact": stage.folder_name,
        "record_sha256": hashlib.sha256(text).hexdigest(),
        "stage": stage.kind,
        "kind": stage.procedure,
        "label": record["label"],
        "seconds": record["seconds"],
        "gpu_hours": record["gpu_hours"],
        "peak_memory_gib": record["peak_memory_gib"],
        "started": record["started"],
        "ended": record["ended"],
        "summary": json.loads((cache / stage.folder_name / "summary.json").read_text()),
    }
