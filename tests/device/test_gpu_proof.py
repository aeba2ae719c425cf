"""The proof on a GPU is rehearsed: every step's own code on tiny models, so that its mistakes cost no time on a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
        "import subprocess, sys, time\n"
        "name = sys.argv[2]\n"
        "if name == 'rkl': sys.exit('no memory')\n"
        "if name == 'sft': subprocess.Popen(['sleep', '60']).wait()\n"
    )
    monkeypatch.setattr(gpu_proof, "__file__", str(script))
    monkeypatch.setattr(gpu_proof, "LIMITS", {"rkl": 30, "sft": 1, "fkl": 30})
    monkeypatch.setattr(gpu_proof, "SLOWER", 1)
    runner = gpu_proof.Runner(tmp_path / "out", tmp_path / "work", 3600)
    runner.run(["rkl", "sft", "fkl"])
    assert runner.failed == ["rkl", "sft"]
    lines = [json.loads(line) for line in runner.figures.read_text().splitlines()]
    assert [(line["name"], line["exit"]) for line in lines] == [("rkl", 1), ("sft", "out of time"), ("fkl", 0)]
    assert "no memory" in lines[0]["tail"]
    late = gpu_proof.Runner(tmp_path / "late", tmp_path / "work", 5)
    late.run(["fkl"])
    assert json.loads(late.figures.read_text())["exit"] == "no time left"
