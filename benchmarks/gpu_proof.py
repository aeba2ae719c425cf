"""Check on a GPU, in minutes and without a network, what a CPU cannot show.

    python benchmarks/gpu_proof.py no-vllm --seconds 370     every step that needs no vLLM
    python benchmarks/gpu_proof.py vllm --seconds 270        the others, on the models that the first left in --work
    python benchmarks/gpu_proof.py rkl calibrate             some steps
    PROOF_TINY=1 python benchmarks/gpu_proof.py no-vllm      a rehearsal on a CPU: the same code on tiny models

Each step is a process of its own with a time limit, so one that hangs or runs out of memory ends alone. Steps that are not
timed run beside each other. Figures are appended to proof.jsonl in --out as they are made. Exit code 1 if a
step failed.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIMITS = {
    "environment": 90, "models": 80, "rkl": 90, "traps": 90, "kernels": 90, "calibrate": 90,
    "tests": 150, "sharded": 90, "pipeline": 90, "agree": 60, "reward": 90, "fkl": 60, "sft": 60,
    "loop": 140, "plain_grpo": 140,
    "vllm_sample": 130, "throughput": 200, "vllm_calibrate": 130, "vllm_rkl": 140, "vllm_rkl_again": 200,
    "vllm_tests": 660,
}  # fmt: skip
"""Seconds of each step. The order is that of their worth. The tests of vLLM start 15 engines of 25 to 42 s each."""
CONCURRENT = ("tests", "sharded", "pipeline", "agree", "reward")
"""Steps whose seconds do not matter: they run together, when the first of them is due."""
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


class Runner:
    """Runs steps one by one or together, until its time is up."""

    def __init__(self, out: Path, work: Path, seconds: float) -> None:
        self.out, self.work, self.end = out, work, time.monotonic() + seconds
        self.figures = out / "proof.jsonl"
        self.failed: list[str] = []
        for folder in (out, work, work / "logs"):
            folder.mkdir(parents=True, exist_ok=True)

    def run(self, names: list[str]) -> None:
        together = [name for name in names if name in CONCURRENT]
        for name in names:
            if name not in together:
                self._step(name)
            elif name == together[0]:
                with ThreadPoolExecutor(2 if TINY else len(together)) as pool:
                    list(pool.map(self._step, together))

    def _step(self, name: str) -> None:
        """Run one step in a process group of its own; note its exit code, its seconds and the end of what it printed."""
        left = self.end - time.monotonic()
        if left < LEAST:
            return self._note(name, "no time left", 0.0, "")
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
                with contextlib.suppress(ProcessLookupError):  # its children, too
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        text = log.read_text(errors="replace")
        self._note(name, code, time.monotonic() - start, "" if code == 0 else text[-1500:])

    def _note(self, name: str, code: int | str, seconds: float, tail: str) -> None:
        if code != 0:
            self.failed.append(name)
        line = {"step": "step", "name": name, "exit": code, "seconds": round(seconds, 1), "tail": tail}
        with self.figures.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{name}: exit {code}, {seconds:.1f} s{': ' + tail if tail else ''}", flush=True)

    def pack_logs(self, label: str) -> None:
        """Put what the steps printed beside the figures."""
        with tarfile.open(self.out / f"logs-{label}.tar.gz", "w:gz") as archive:
            archive.add(self.work / "logs", arcname="logs")


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
