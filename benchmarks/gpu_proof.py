"""Check on a GPU, in minutes and without a network, what a CPU cannot show.

    python benchmarks/gpu_proof.py no-vllm --seconds 370     every step that needs no vLLM
    python benchmarks/gpu_proof.py vllm --seconds 270        the others, on the models that the first left in --work
    python benchmarks/gpu_proof.py rkl calibrate             some steps
    PROOF_TINY=1 python benchmarks/gpu_proof.py no-vllm      a rehearsal on a CPU: the same code on tiny models

Each step is a process of its own with a time limit, so one that hangs or runs out of memory ends alone, with all processes
that it started. Steps that are not timed run beside each other, and their seconds say so. Figures are appended to
proof.jsonl in --out as they are made; what a step that failed printed last is there, too. Exit code 1 if a step failed.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from repro.system.child_processes import descendants, has_exited

LIMITS = {
    "environment": 90, "models": 80, "plain_grpo": 170, "loop": 140, "fkl": 60,
    "rkl": 150, "calibrate": 150, "tests": 150,
    "kernels": 90, "traps": 90,
    "sharded": 90, "pipeline": 90, "agree": 60, "reward": 90, "sft": 60,
    "vllm_sample": 160, "vllm_rkl_again": 200, "throughput": 200, "vllm_calibrate": 150, "vllm_rkl": 140,
    "vllm_tests": 660,
}  # fmt: skip
"""Seconds of each step. The order is that of their worth. The tests of vLLM start 15 engines of 25 to 42 s each."""
TOGETHER = (
    ("environment", "models"),
    ("rkl", "calibrate", "tests"),
    ("sharded", "pipeline", "agree", "reward"),
)
"""Steps whose seconds do not matter: those of a row run together, when the first of them is due. A row fits 80 GB."""
GROUPS = {
    "no-vllm": [name for name in LIMITS if not name.startswith("vllm") and name != "throughput"],
    "vllm": [name for name in LIMITS if name.startswith("vllm") or name == "throughput"],
    "all": list(LIMITS),
}
TINY = os.environ.get("PROOF_TINY") == "1"
SLOWER = 10 if TINY else 1
"""The limits of a rehearsal are a CPU's, which other work may keep busy."""
LEAST = 15
"""Seconds below which no further step is started."""
TAIL, LOG_TAIL = 4000, 800
"""Characters of what a step that failed printed last, and of what each of its contenders did."""
END_SECONDS = 10.0
"""Seconds that the processes of a step have to be gone once they are killed: they hold memory that the next one needs."""


class Runner:
    """Runs steps one by one or together, until its time is up."""

    def __init__(self, out: Path, work: Path, seconds: float) -> None:
        self.out, self.work, self.end = out, work, time.monotonic() + seconds
        self.figures = out / "proof.jsonl"
        self.failed: list[str] = []
        for folder in (out, work, work / "logs"):
            folder.mkdir(parents=True, exist_ok=True)

    def run(self, names: list[str]) -> None:
        waiting = list(names)
        while waiting:
            row = next((row for row in TOGETHER if waiting[0] in row), waiting[:1])
            together = [name for name in waiting if name in row]
            with ThreadPoolExecutor(min(2, len(together)) if TINY else len(together)) as pool:
                list(pool.map(lambda name, row=together: self._step(name, row), together))
            waiting = [name for name in waiting if name not in together]

    def _step(self, name: str, together: Sequence[str]) -> None:
        """Run one step in a process group of its own; note its exit code, its seconds and the end of what it printed."""
        beside = [other for other in together if other != name]
        left = self.end - time.monotonic()
        if left < LEAST:
            return self._note(name, "no time left", 0.0, beside, "")
        log = self.work / "logs" / f"{name}.log"
        command = [sys.executable, __file__, "--step", name, "--work", str(self.work), "--figures", str(self.figures)]
        start = time.monotonic()
        with log.open("w") as printed:
            process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True)
            code: int | str
            try:
                code = process.wait(min(LIMITS[name] * SLOWER, left))
            except subprocess.TimeoutExpired:
                code = "out of time"
            finally:
                _end(process)
        self._note(name, code, time.monotonic() - start, beside, "" if code == 0 else self._tail(name, log))

    def _tail(self, name: str, log: Path) -> str:
        """Return what a step printed last, and what each of its contenders did."""
        folder = self.work / "pytest" / name
        files = sorted({file.resolve() for file in folder.rglob("*.log")})
        texts = [f"\n== {file.parent.name}/{file.name}\n{_end_of(file, LOG_TAIL)}" for file in files]
        return _end_of(log, TAIL) + "".join(texts)

    def _note(self, name: str, code: int | str, seconds: float, beside: list[str], tail: str) -> None:
        if code != 0:
            self.failed.append(name)
        line = {
            "step": "step",
            "name": name,
            "exit": code,
            "seconds": round(seconds, 1),
            "beside": beside,
            "tail": tail,
        }
        with self.figures.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{name}: exit {code}, {seconds:.1f} s{': ' + tail if tail else ''}", flush=True)

    def pack_logs(self, label: str) -> None:
        """Put what the steps and their contenders printed beside the figures."""
        with tarfile.open(self.out / f"logs-{label}.tar.gz", "w:gz") as archive:
            for log in sorted(self.work.rglob("*.log")):
                archive.add(log, arcname=Path("logs") / log.relative_to(self.work))


def _end_of(file: Path, characters: int) -> str:
    return file.read_text(errors="replace")[-characters:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a step and what it started, in whatever group or session; wait until all have exited."""
    started = descendants(psutil.Process(process.pid)) if process.poll() is None else []
    with contextlib.suppress(ProcessLookupError):  # children of a step that has ended itself, too
        os.killpg(process.pid, signal.SIGKILL)
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()
    deadline = time.monotonic() + END_SECONDS
    while not all(map(has_exited, started)) and time.monotonic() < deadline:
        time.sleep(0.1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="STEP", help=f"{', '.join([*GROUPS, *LIMITS])}")
    parser.add_argument("--out", type=Path, default=Path("results/gpu-proof"), help="folder of the figures")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "gpu-proof", help="models and logs")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time for all steps together")
    parser.add_argument("--step", help=argparse.SUPPRESS)  # this process is one step
    parser.add_argument("--figures", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        from gpu_proof_steps import STEPS
        from gpu_proof_training import Proof

        STEPS[options.step](Proof(options.work, options.figures, TINY))
        return 0
    names = [step for name in options.names or ["all"] for step in GROUPS.get(name, [name])]
    unknown = [name for name in names if name not in LIMITS]
    if unknown:
        parser.error(f"no step {unknown[0]}; steps: {', '.join([*GROUPS, *LIMITS])}")
    runner = Runner(options.out.resolve(), options.work.resolve(), options.seconds)
    runner.run(names)
    runner.pack_logs("-".join(options.names) or "all")
    print(f"failed: {', '.join(runner.failed) or 'none'}")
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
