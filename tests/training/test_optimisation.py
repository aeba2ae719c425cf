"""Diverged training: the weight is named, and no model is written. How long ranks wait; the optimiser."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.progress import silent
from repro.training import optimisation
from repro.training.non_finite import check_finite
from repro.training.resources import TrainingResources


def test_a_weight_that_is_not_finite_is_named():
    layer = torch.nn.Linear(2, 2)
    check_finite(layer)
    with torch.no_grad():
        layer.bias[1] = float("nan")
    with pytest.raises(RuntimeError, match="weight bias is not finite"):
        check_finite(layer)


def test_a_diverged_training_leaves_no_model(student, teacher, items, tmp_path):
    config = DistillationConfig(
        method="gkd-rkl",
        steps=3,
        sequences_per_step=4,
        learning_rate=1e30,
        warmup_fraction=0.0,
        max_completion_tokens=6,
        traces="full",
        engine="transformers",
    )
    with pytest.raises((RuntimeError, ValueError)):
        distill(
            config,
            student=student,
            teacher=teacher,
            items=items,
            completions=None,
            task_reward=lambda items, texts: [0.0] * len(texts),
            seed=0,
            out=tmp_path / "out",
            work=tmp_path / "work",
            progress=silent,
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("has_gpu", "optimiser"), [(True, "adamw_torch_fused"), (False, "adamw_torch")])
def test_the_optimiser_is_fused_on_a_gpu_only(tmp_path, monkeypatch, has_gpu, optimiser):
    """On a GPU the other one copies all weights at its step; on a CPU its numbers are those of earlier runs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(optimisation, "data_parallel_ranks", lambda: 1)
    arguments = optimisation.trainer_arguments(
        work=tmp_path,
        steps=2,
        learning_rate=1e-5,
        warmup_fraction=0.0,
        seed=0,
        sequences=4,
        parameters=600_000_000,
        resources=TrainingResources(micro_batch=2),
    )
    assert arguments["optim"] == optimiser
    assert arguments["bf16"] == has_gpu
    assert not arguments["gradient_checkpointing"]  # the planner counts with the same bound


WAITING = """
import sys
from pathlib import Path

import torch
from transformers import TrainingArguments

from repro.training.optimisation import RANK_TIMEOUT, trainer_arguments
from repro.training.resources import TrainingResources

shared = {"steps": 1, "learning_rate": 1.0, "warmup_fraction": 0.0, "seed": 0, "sequences": 2, "parameters": 1}
arguments = TrainingArguments(
    **trainer_arguments(work=Path(sys.argv[1]), resources=TrainingResources(micro_batch=1), **shared)
)
assert arguments.world_size == 2
assert arguments.ddp_timeout_delta == RANK_TIMEOUT
group = torch.distributed.distributed_c10d._get_default_group()
timeout = group._get_backend(torch.device("cpu")).options._timeout
assert timeout == RANK_TIMEOUT, timeout
"""


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_ranks_wait_as_long_as_the_trainer_is_told(tmp_path):
    """They are connected before the trainer's arguments exist, whose limit then counts for nothing."""
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    ended = subprocess.run(
        [*launch, str(script), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
