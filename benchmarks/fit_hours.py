"""Fit the factors of the model of hours to the records of a run on a quiet machine.

    python benchmarks/fit_hours.py RESULTS [RESULTS ...]      writes repro/planner/fitted.toml
    python benchmarks/fit_hours.py --show RESULTS             prints the ratios of every kind, writes nothing

RESULTS are output folders (`--out`) of `repro run STUDY --scale toy`. Only stages on a CPU count: no study has run on a GPU.
"""

import argparse
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pydantic
import tomli_w

from repro.planner.corrections import FITTED
from repro.planner.records import MeasuredStage, measured_stage
from repro.stages.artifact import CACHE, RECORD

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
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
