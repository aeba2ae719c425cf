"""Diverged training: the weight is named, and no model is written."""

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
