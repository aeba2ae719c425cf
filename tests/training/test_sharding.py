"""Sharded models on two processes compared with unsharded ones; arguments and identity of sharded runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_gemma, save_qwen

from repro.training.checkpoints import run_identity
from repro.training.optimisation import trainer_arguments
from repro.training.resources import TrainingResources

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_hold_one_model(tmp_path: Path) -> None:
    """Weight sync of a LoRA policy, frozen teacher, unsharded state, non-finite weights, unrounded outputs."""
    save_qwen(tmp_path / "qwen")
    save_gemma(tmp_path / "gemma")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    ended = subprocess.run(
        [*launch, str(Path(__file__).with_name("sharded.py")), str(tmp_path / "qwen"), str(tmp_path / "gemma")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]


def test_unsharded_training_has_no_sharding_arguments(tmp_path: Path) -> None:
    """Sharding adds its arguments, and its entry in a checkpoint's identity, and changes nothing else."""
    settings = {"steps": 1, "learning_rate": 1.0, "warmup_fraction": 0.0, "seed": 0, "sequences": 1}
    settings |= {"work": tmp_path, "parameters": 1}
    unsharded, sharded = (
        trainer_arguments(**settings, resources=TrainingResources(shard=shard))  # type: ignore[arg-type]
        for shard in (False, True)
    )
    assert not any(name.startswith("fsdp") for name in unsharded)
    assert {name: value for name, value in sharded.items() if not name.startswith("fsdp")} == unsharded
    assert run_identity({}, 0, []).keys() == {"config", "seed", "rows", "templates"}
    assert run_identity({}, 0, [], sharded=True) != run_identity({}, 0, [])  # one cannot read the other's
