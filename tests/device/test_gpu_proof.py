"""The proof on a GPU is rehearsed: every step's own code on tiny models, so that its mistakes cost no time on a GPU."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
STEPS = {
    "environment", "models", "rkl", "traps", "kernels", "calibrate", "fkl", "sft", "tests", "sharded", "pipeline", "agree",
    "reward", "loop", "plain_grpo",
}  # fmt: skip


@pytest.mark.processes
@pytest.mark.timeout(1800)
def test_the_rehearsal_passes_and_notes_figures_of_every_step(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_proof.py"), "no-vllm"]
    command += ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # not a worker's
    environment = inherited | {"PROOF_TINY": "1", "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "proof.jsonl").read_text().splitlines()]
    assert {line["name"]: line["exit"] for line in lines if line["step"] == "step"} == dict.fromkeys(STEPS, 0)
    assert {line["step"] for line in lines} == STEPS | {"step"}
    figures = {line["step"]: line for line in lines if line["step"] != "step"}
    assert figures["agree"]["fused_gap"] < 1e-4
    assert figures["rkl"]["length"] == 12
    assert figures["pipeline"]["records"][0]["gpus"] == []
    assert figures["reward"]["alone_gap"] < 1e-2
    assert (tmp_path / "out" / "logs-no-vllm.tar.gz").stat().st_size


def test_a_step_that_fails_or_hangs_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_proof

    script = tmp_path / "steps.py"
    script.write_text(
        "import pathlib, subprocess, sys\n"
        "name, work = sys.argv[2], pathlib.Path(sys.argv[4])\n"
        "if name == 'rkl': sys.exit('no memory')\n"
        "if name == 'sft':\n"
        "    print('step 1 took 2 s', flush=True)\n"
        "    child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "    (work / 'child').write_text(str(child.pid))\n"
        "    (work / 'pytest' / 'sft' / 'loop').mkdir(parents=True)\n"
        "    (work / 'pytest' / 'sft' / 'loop' / 'steps.log').write_text('a step of 7 s')\n"
        "    child.wait()\n"
    )
    monkeypatch.setattr(gpu_proof, "__file__", str(script))
    monkeypatch.setattr(gpu_proof, "LIMITS", {"rkl": 30, "sft": 3, "fkl": 30})
    monkeypatch.setattr(gpu_proof, "TOGETHER", (("rkl", "fkl", "tests"),))
    monkeypatch.setattr(gpu_proof, "SLOWER", 1)
    runner = gpu_proof.Runner(tmp_path / "out", tmp_path / "work", 3600)
    runner.run(["rkl", "sft", "fkl"])
    assert runner.failed == ["rkl", "sft"]
    lines = [json.loads(line) for line in runner.figures.read_text().splitlines()]
    ends = {line["name"]: (line["exit"], line["beside"]) for line in lines}
    assert ends == {"rkl": (1, ["fkl"]), "fkl": (0, ["rkl"]), "sft": ("out of time", [])}
    tails = {line["name"]: line["tail"] for line in lines}
    assert "no memory" in tails["rkl"]
    assert "step 1 took 2 s" in tails["sft"]
    assert tails["sft"].endswith("== loop/steps.log\na step of 7 s")
    child = int((tmp_path / "work" / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    late = gpu_proof.Runner(tmp_path / "late", tmp_path / "work", 5)
    late.run(["fkl"])
    assert json.loads(late.figures.read_text())["exit"] == "no time left"


@pytest.mark.load_sensitive
def test_what_a_step_runs_is_printed_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_proof_steps

    script = "import sys, time; print('a figure'); print('a cause', file=sys.stderr); time.sleep(60)"
    code = f"import gpu_proof_steps; gpu_proof_steps._python(['-c', {script!r}])"
    path = os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    log = tmp_path / "log"
    with log.open("w") as printed:
        step = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=printed,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )
    deadline = time.monotonic() + 120
    while "a cause" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(step.pid, signal.SIGKILL)
    step.wait()
    assert log.read_text().split("\n")[:2] == ["a figure", "a cause"]
    marked = gpu_proof_steps._marked_tests()
    assert str(ROOT / "tests" / "device") in marked
    assert str(ROOT / "tests" / "traps" / "test_streaming_kernels.py") in marked
