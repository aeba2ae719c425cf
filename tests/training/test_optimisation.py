"""Diverged training: the weight is named, and no model is written."""

import pytest
import torch

from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.progress import silent
from repro.training.non_finite import check_finite


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
