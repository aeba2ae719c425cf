"""A stage through the command, and a sharded training, on every device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repro.system.gpus import visible_gpus

from .conftest import Device

ROOT = Path(__file__).parents[2]


def run_python(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(900)
@pytest.mark.processes
def test_a_stage_runs_on_the_gpu_that_it_was_given(device: Device, tmp_path: Path, student: Path) -> None:
    """The record names the GPU and the memory it took; without a GPU there is none."""
    argv = ["sample", str(student), "--task", "toy-bm4", "--items", "2", "--engine", "transformers", "--quiet"]
    argv += ["--set", "teacher_sampling.max_completion_tokens=6", "--out", str(tmp_path)]
    done = run_python(["-m", "repro.cli", *argv])
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("cache/*/record.json")
    record = json.loads(file.read_text())
    if device.name == "cpu":
        assert record["gpus"] == []
        assert record["peak_gpu_memory_gib"] is None
    else:
        assert record["gpus"] == [visible_gpus()[0]]
        assert 0 < record["peak_gpu_memory_gib"] < 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_training_sharded_over_one_process_is_the_unsharded_one(
    device: Device, tmp_path: Path, teacher: Path, student: Path
) -> None:
    """FSDP2's parameters, mixed precision and gathered weights on one rank: the losses of a run without them."""
    losses = []
    for name in ("unsharded", "shard"):
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"] if name == "shard" else []
        script = str(Path(__file__).with_name("train_once.py"))
        done = run_python([*launch, script, str(tmp_path / name), str(teacher), str(student), name])
        assert done.returncode == 0, done.stdout + done.stderr
        rows = (tmp_path / name / "out" / "history.jsonl").read_text().splitlines()
        losses.append([json.loads(row)["loss"] for row in rows])
    assert losses[1] == pytest.approx(losses[0], rel=device.relative)
