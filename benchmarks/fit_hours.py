"""Fit the factors of the model of hours to the records of a run on a quiet machine.

    python benchmarks/fit_hours.py RESULTS [RESULTS ...]      writes repro/planner/fitted.toml
    python benchmarks/fit_hours.py --show RESULTS             prints the ratios of every kind, writes nothing
    python benchmarks/fit_hours.py --check EARLIER LATER      the dry run's error on the run LATER, by the records of EARLIER
    python benchmarks/fit_hours.py --replay RUN1 RUN2 ...     writes tests/pipeline/table2_seconds.json from runs of table2

RESULTS are output folders (`--out`) of `repro run STUDY --scale toy`. Only stages on a CPU count: no study has run on a GPU.
"""

import argparse
import json
import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import pydantic
import tomli_w

from repro.planner.corrections import FITTED, measured_corrections
from repro.planner.hours import estimate
from repro.planner.records import MeasuredStage, measured_stage
from repro.planner.schedule import Job, makespan
from repro.recipes.catalog import plan
from repro.stages import Stage, topological_order
from repro.stages.artifact import CACHE, RECORD

REPLAY = Path(__file__).parents[1] / "tests" / "pipeline" / "table2_seconds.json"
HEAD = """# Written by `python benchmarks/fit_hours.py RESULTS`: MEASURED seconds of toy stages over those of the model, by kind of stage;
# process_seconds: start of a stage's process.
"""


def read(folders: Sequence[Path]) -> list[tuple[dict[str, Any], MeasuredStage]]:
    """Return the records below some output folders that this version can read, whatever machine wrote them."""
    measured = []
    for file in sorted(file for folder in folders for file in (folder / CACHE).glob(f"*/{RECORD}")):
        record = json.loads(file.read_text())
        try:
            measured.append((record, measured_stage(record)))
        except (KeyError, pydantic.ValidationError):
            print(f"left out, of another version: {file}")
    return [(record, stage) for record, stage in measured if not stage.on_gpu]


def ratios(measured: Sequence[MeasuredStage]) -> dict[str, list[float]]:
    """Return measured over modelled seconds, by kind of stage."""
    by_kind: dict[str, list[float]] = {}
    for stage in measured:
        by_kind.setdefault(stage.stage.procedure, []).append(stage.seconds / stage.modelled)
    return by_kind


def fitted(records: Sequence[tuple[dict[str, Any], MeasuredStage]], before: dict[str, Any]) -> dict[str, Any]:
    """Return the content of `fitted.toml`.

    Args:
        before: the present content: kinds of stages without a record among these keep their factor.
    """
    newest = max(records, key=lambda pair: pair[1].ended)[0]
    machine = newest["hardware"]
    source = {
        "measured": newest["ended"][:10],
        "machine": f"{machine.get('processor', machine['machine'])}, {machine['cpus']} cores, {machine['memory_gib']} GiB",
        "commit": str(newest["code"]["commit"])[:7],
    }
    by_kind = ratios([stage for _, stage in records])
    starts = [stage.process_seconds for _, stage in records if stage.process_seconds is not None]
    new = {
        kind: {"factor": round(median(values), 3), "records": len(values), **source} for kind, values in by_kind.items()
    }
    kinds = before.get("kinds", {}) | new
    return {
        "process_seconds": round(median(starts), 2) if starts else before["process_seconds"],
        "kinds": dict(sorted(kinds.items())),
    }


def check(earlier: Path, later: Path, workers: int) -> None:
    """Print the plan of a run by the records of an earlier one, beside what it took.

    LATER is one run of one study in an empty folder: its wall clock is from its first stage's start to its last one's end.
    """
    corrections = measured_corrections(newest_first(read([earlier])))
    records = {stage.stage.fingerprint: (record, stage) for record, stage in read([later])}
    stages = [stage for stage in study_order(records) if stage.fingerprint in records]
    seconds = {stage.fingerprint: estimate(stage, "toy", corrections).seconds for stage in stages}
    jobs = [Job(s.fingerprint, seconds[s.fingerprint], tuple(i.fingerprint for i in s.inputs())) for s in stages]
    start = corrections.process_seconds
    measured = sum(stage.seconds + (stage.process_seconds or start) for _, stage in records.values())
    wall, planned_wall = wall_seconds([record for record, _ in records.values()]) + start, makespan(jobs, workers)
    for what, planned, took in (("stage seconds", sum(seconds.values()), measured), ("wall clock", planned_wall, wall)):
        print(f"{what}: planned {planned:.0f} s, measured {took:.0f} s: {planned / took - 1:+.0%}")
    for kind in sorted({stage.procedure for stage in stages}):
        planned = sum(seconds[s.fingerprint] - start for s in stages if s.procedure == kind)
        took = sum(m.seconds for _, m in records.values() if m.stage.procedure == kind)
        print(f"  {kind}: planned {planned:.1f} s, measured {took:.1f} s: {planned / took - 1:+.0%}")


def newest_first(records: Sequence[tuple[dict[str, Any], MeasuredStage]]) -> list[MeasuredStage]:
    """Return what records measured, in the order that `measured_corrections` wants."""
    return sorted((stage for _, stage in records), key=lambda stage: stage.ended, reverse=True)


def study_order(records: dict[str, tuple[dict[str, Any], MeasuredStage]]) -> list[Stage]:
    """Return the stages of records in the order in which their study lists them."""
    started = sorted(records.values(), key=lambda pair: pair[0]["started"])
    return topological_order(stage.stage for _, stage in started)


def replay(folders: Sequence[Path]) -> dict[str, Any]:
    """Return what table2's stages took in runs of one seed, for the tests of the plan and of the time left."""
    stages = plan("table2", scale="toy", seeds=1).stages()
    number = {stage.fingerprint: n for n, stage in enumerate(stages)}
    lines = [
        {"kind": stage.procedure, "needs": [number[needed.fingerprint] for needed in stage.inputs()]}
        for stage in stages
    ]
    runs = []
    for results in folders:
        records = [json.loads((results / CACHE / stage.folder_name / RECORD).read_text()) for stage in stages]
        newest = max(records, key=lambda record: str(record["ended"]))
        runs.append(
            {
                "measured": newest["started"],
                "commit": newest["code"]["commit"][:7],
                "wall_seconds": wall_seconds(records),
                "process_seconds": [record.get("process_seconds") for record in records],
                "seconds": [record["seconds"] for record in records],
            }
        )
    return {"study": "table2", "stages": lines, "runs": runs}


def wall_seconds(records: Sequence[dict[str, Any]]) -> float:
    """Return the seconds from the start of a run's first stage to the end of its last one."""
    first = min(datetime.fromisoformat(record["started"]) for record in records)
    return (max(datetime.fromisoformat(record["ended"]) for record in records) - first).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.check:
        check(*options.results, options.workers)
        return
    if options.replay:
        REPLAY.write_text(json.dumps(replay(options.results), indent=1) + "\n")
        return
    records = read(options.results)
    if not records:
        parser.error("no record of a stage on a CPU")
    for kind, values in sorted(ratios([stage for _, stage in records]).items()):
        print(
            f"{kind:<10} {len(values):>3} records: {median(values):.2f} x the model, {min(values):.2f} to {max(values):.2f}"
        )
    if not options.show:
        FITTED.write_text(HEAD + tomli_w.dumps(fitted(records, tomllib.loads(FITTED.read_text()))))
        print(f"written: {FITTED}")


if __name__ == "__main__":
    main()
