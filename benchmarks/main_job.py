"""Where the time of the main job goes: `repro run table2 --scale toy`, its verdicts and page, then their tests.

    python benchmarks/main_job.py                            run it, and print its time by stage and phase
    python benchmarks/main_job.py --out DIR                  read a run that has finished there (its seconds by stage alone)
    python benchmarks/main_job.py --against TREE --python PY also run another checkout, in turn; print the ratio

Arguments after `--` go to `repro run`. "Again" is the same command when all is cached: what the driver, judging and the page
take by themselves. Processor seconds are those of all processes of a command, by the kernel's count.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
SCALE = "toy"
RUN = "run"


@dataclass(frozen=True)
class Seconds:
    """Seconds by the wall and of the processor; processor is None where no record says."""

    wall: float
    processor: float | None

    def __str__(self) -> str:
        processor = "       -" if self.processor is None else f"{self.processor:8.1f}"
        return f"{self.wall:8.1f} {processor}"


@dataclass(frozen=True)
class Tree:
    """A checkout and the Python of its environment."""

    root: Path
    python: Path


def run_job(tree: Tree, study: str, out: Path, arguments: Sequence[str]) -> dict[str, Seconds]:
    """Run the job of a checkout; return the seconds of each command.

    Raises:
        SystemExit: a command failed; 1 is no failure of `repro run` (a claim is contradicted), but one of the tests.
    """
    # the command without its script, which belongs to one checkout
    repro = [str(tree.python), "-c", "import sys; from repro.cli import main; sys.exit(main())"]
    run = [*repro, "run", study, "--scale", SCALE, "--out", str(out), *arguments]
    tests = [str(tree.python), "-m", "pytest", *select_tests(tree, study), "-q"]
    return {
        RUN: time_command(run, tree, codes=(0, 1)),
        "again": time_command(run, tree, codes=(0, 1)),
        "tests": time_command([*tests, "--out", str(out), "--scale", SCALE], tree, codes=(0, 1)),
    }


def select_tests(tree: Tree, study: str) -> list[str]:
    """Return pytest's arguments for the tests of a study: earlier checkouts have a file for each."""
    if (tree.root / "benchmarks" / "test_studies.py").exists():
        return ["benchmarks/test_studies.py", "--study", study]
    return [f"benchmarks/test_{study.replace('-', '_')}.py"]


def time_command(command: Sequence[str], tree: Tree, *, codes: Sequence[int]) -> Seconds:
    """Run a command in a checkout; return its seconds, those of its children included."""
    environment = os.environ | {"PYTHONPATH": str(tree.root), "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=tree.root, env=environment, capture_output=True, text=True)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in codes:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return Seconds(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def read_records(study: str, out: Path) -> list[dict[str, Any]]:
    """Return the records of a finished study's stages, in order.

    Raises:
        SystemExit: no study has finished there.
    """
    results = next(iter(sorted(out.glob(f"{study}-{SCALE}*/results.json"))), None)  # its settings are in the name
    if results is None:
        raise SystemExit(
            f"{out}: no results.json of {study} there. Name the --out of a finished `repro run {study} --scale {SCALE}`."
        )
    names = [line["artifact"] for line in json.loads(results.read_text())["stages"]]
    return [json.loads((out / "cache" / name / "record.json").read_text()) for name in names]


def by_phase(records: Sequence[dict[str, Any]]) -> dict[tuple[str, str], Seconds]:
    """Return the seconds of each kind of stage and phase; a record without phases counts as one, `all`."""
    totals: dict[tuple[str, str], list[float | None]] = defaultdict(lambda: [0.0, 0.0])
    for record in records:
        phases = record.get("phases") or {"all": {"wall": record["seconds"], "processor": None}}
        start = record.get("process_seconds")
        if start is not None:
            phases = {"start": {"wall": start, "processor": None}} | phases
        for name, seconds in phases.items():
            total = totals[kind_of(record), name]
            total[0] += seconds["wall"]
            total[1] = None if total[1] is None or seconds["processor"] is None else total[1] + seconds["processor"]
    return {key: Seconds(wall or 0.0, processor) for key, (wall, processor) in sorted(totals.items())}


def kind_of(record: dict[str, Any]) -> str:
    """Return the kind of a stage, with its method if it trains."""
    method = record["config"].get("config", {}).get("method")
    return f"{record['stage']} {method}" if method else str(record["stage"])


def table(records: Sequence[dict[str, Any]], commands: dict[str, Seconds]) -> list[str]:
    """Return the lines of a job: commands, then stages by kind and phase, then what of the run is no stage's."""
    lines = [f"{'':34}{'wall s':>8} {'proc. s':>8}"]
    lines += [f"{name:34}{seconds}" for name, seconds in commands.items()]
    phases = by_phase(records)
    counts: dict[str, int] = defaultdict(int)
    for record in records:
        counts[kind_of(record)] += 1
    for (kind, name), seconds in phases.items():
        lines.append(f"{f'{counts[kind]} {kind}: {name}':34}{seconds}")
    if RUN in commands:
        processor = [seconds.processor for seconds in phases.values()]
        in_stages = sum(value for value in processor if value is not None)
        rest = commands[RUN].processor
        left = None if rest is None or not in_stages else rest - in_stages
        lines.append(f"{'run: outside of phases':34}{'':8} {'       -' if left is None else f'{left:8.1f}'}")
    return lines


def total(commands: dict[str, Seconds]) -> Seconds:
    """Return the seconds of the job itself: run and tests."""
    parts = [commands[RUN], commands["tests"]]
    return Seconds(sum(part.wall for part in parts), sum(part.processor or 0.0 for part in parts))


def measure(trees: dict[str, Tree], study: str, pairs: int, arguments: Sequence[str]) -> None:
    """Run the job of each checkout in turn, first the one, then the other; print the tables and the ratios."""
    names = list(trees)
    for number in range(pairs):
        totals: dict[str, Seconds] = {}
        for name in names if number % 2 == 0 else names[::-1]:
            with tempfile.TemporaryDirectory(prefix="main-job-") as folder:
                commands = run_job(trees[name], study, Path(folder), arguments)
                print(f"\n{name} ({trees[name].root}), run {number + 1} of {pairs}")
                print("\n".join(table(read_records(study, Path(folder)), commands)), flush=True)
            totals[name] = total(commands)
        if len(names) == 2:
            first, second = (totals[name] for name in names)
            assert first.processor is not None
            assert second.processor is not None
            print(
                f"\n{names[0]} / {names[1]}: wall {first.wall / second.wall:.3f},"
                f" processor {first.processor / second.processor:.3f}",
                flush=True,
            )


def main() -> None:
    """Read the arguments; measure, or read what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="table2")
    parser.add_argument("--out", type=Path, help="a finished run to read, instead of running one")
    parser.add_argument("--against", type=Path, help="another checkout, to run in turn with this one")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the Python of --against")
    parser.add_argument("--pairs", type=int, default=1, help="how often each checkout runs")
    parser.add_argument("arguments", nargs="*", help="after --: arguments of repro run")
    options = parser.parse_args()
    if options.out is not None:
        print("\n".join(table(read_records(options.study, options.out), {})))
        return
    trees = {"this": Tree(HERE, Path(sys.executable))}
    if options.against is not None:
        trees["against"] = Tree(options.against.resolve(), options.python)
    measure(trees, options.study, options.pairs, options.arguments)


if __name__ == "__main__":
    main()
