"""Models in parts on two processes, against whole ones; and what a checkpoint says of itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_gemma, save_qwen

from repro.training.checkpoints import run_identity
from repro.training.optimisation import StepCut, trainer_arguments
from repro.training.resources import TrainingResources

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_hold_one_model(tmp_path: Path) -> None:
    """Weight sync of a LoRA policy, frozen teacher, whole state, search for what is not finite, unrounded outputs."""
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


def test_whole_training_is_told_nothing_of_parts(tmp_path: Path) -> None:
    """Arguments and checkpoints of a run that is not sharded are what they always were."""
    settings = {"steps": 1, "learning_rate": 1.0, "warmup_fraction": 0.0, "seed": 0, "cut": StepCut(1, 1)}
    settings |= {"work": tmp_path, "parameters": 1}
    whole, parts = (
        trainer_arguments(**settings, resources=TrainingResources(shard=shard))  # type: ignore[arg-type]
        for shard in (False, True)
    )
    assert not any(name.startswith("fsdp") for name in whole)
    assert {name: value for name, value in parts.items() if not name.startswith("fsdp")} == whole
    assert run_identity({}, 0, [], False).keys() == {"config", "seed", "rows"}
    assert run_identity({}, 0, [], True) != run_identity({}, 0, [], False)  # one cannot read the other's
