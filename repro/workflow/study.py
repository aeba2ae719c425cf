"""A study from plan to verdict: run, measure, judge, and leave results.json, report.html and report.md."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from rich.console import Console

from repro.pipeline.cluster import Cluster, Where
from repro.pipeline.record import code_version
from repro.pipeline.run import run
from repro.planner.resources import Resources, resources_for
from repro.recipes.study import Study
from repro.report.result import RESULTS, Result, StageLine
from repro.stages.artifact import CACHE, RECORD
from repro.stages.kinds import Distill, Stage
from repro.stages.pins import served, unpinned
from repro.system.atomic_write import write_json
from repro.system.hardware import hardware, libraries
from repro.system.redaction import redacted
from repro.workflow.contamination import check_contamination


@dataclass(frozen=True)
class Outcome:
    """Where the result is, and whether any claim of the paper is contradicted."""

    folder: Path
    contradicted: bool


def result_folder(study: Study, out: Path) -> Path:
    """One folder per study and scale; the families and seeds of a run are inside its record."""
    return out / f"{study.name}-{study.scale}"


def run_study(
    study: Study,
    out: Path,
    *,
    workers: int,
    quiet: bool,
    console: Console,
    resources: Resources | None = None,
    where: Where = "local",
    cluster: Cluster | None = None,
) -> Outcome:
    """Run what is not cached; write results.json, report.html and report.md; print the verdicts.

    Raises:
        InputError: a person's mistake.
        StageError: a stage ended without a result.
    """
    from repro.report.curves import curves
    from repro.report.examples import examples
    from repro.report.extras import extras
    from repro.report.figures import PICTURES
    from repro.report.markdown import PAGE
    from repro.report.merge import Part, Source
    from repro.report.pictures import write_pictures
    from repro.report.terminal import print_result
    from repro.report.traps import write_figures
    from repro.report.write import write_report
    from repro.tables import load, verdict
    from repro.tables.files import stored_hashes
    from repro.tables.measure import measure

    stages = study.stages()
    contamination = check_contamination(stages)
    run(
        stages,
        out,
        workers=workers,
        resources=resources or resources_for(study.scale == "toy"),
        quiet=quiet,
        console=console,
        where=where,
        cluster=cluster,
    )
    cache = out / CACHE
    measured = measure(study, cache)
    stored = load(study.name)
    report = verdict(measured, stored, missing="inconclusive")
    result = {
        "study": study.name,
        "scale": study.scale,
        "families": list(study.families),
        "tasks": list(study.tasks),
        "seeds": list(study.seeds),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": study.settings,
        "assignments": list(study.assignments),
        "contamination": contamination,
        "code": code_version(),
        "unpinned": [*unpinned(stages), *served(stages)],
        "libraries": libraries(),
        "hardware": hardware(),
        "stored_files": stored_hashes(),
        "verdicts": report.to_dict(),
        "measured": [table.to_dict() for table in measured],
        "rows": [
            {"family": r.family, "method": r.method, "seed": r.seed, "artifact": r.stage.folder_name}
            for r in study.rows
        ],
        "stages": [_stage_line(stage, cache) for stage in stages],
        "examples": examples(study, cache),
        "curves": curves(study, cache),
        "extras": extras(study, cache),
    }
    result = redacted(result)
    folder = result_folder(study, out)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULTS, result)
    if study.measures == "contributions":
        write_figures(study, cache, folder)
    part = Part((Source(folder.name, cast(Result, result)),), tuple(measured), stored, report)
    if study.name in PICTURES:
        write_pictures(PICTURES[study.name], part, folder)
    page, brief = write_report([part], folder / PAGE)
    print_result(measured, report, console)
    console.print(f"\nwritten: {page}, {brief}, {folder / RESULTS}", highlight=False, soft_wrap=True)
    contradicted = any(one.value == "contradicted" and one.role != "control" for one in report.claims)
    return Outcome(folder, contradicted)


def _stage_line(stage: Stage, cache: Path) -> StageLine:
    """What one stage cost, from its record."""
    record = json.loads((cache / stage.folder_name / RECORD).read_text())
    return {
        "artifact": stage.folder_name,
        "stage": stage.does,
        "kind": stage.config.method if isinstance(stage, Distill) else stage.does,
        "label": record["label"],
        "seconds": record["seconds"],
        "gpu_hours": record["gpu_hours"],
        "peak_memory_gib": record["peak_memory_gib"],
        "started": record["started"],
        "ended": record["ended"],
        "summary": json.loads((cache / stage.folder_name / "summary.json").read_text()),
    }
