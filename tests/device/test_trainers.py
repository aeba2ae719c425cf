"""Trainers compute the definitions on every device: losses, gradients and rewards against float64 on single sequences."""

from pathlib import Path
from typing import Any

import pytest
import torch
from calibration.test_trainer import run as calibrate
from calibration.test_trainer import seen
from distillation.reference import reference
from distillation.test_distill import METHODS, STEP, Recorder, Run, lines, recorder, run, stored
from safetensors.torch import load_file
from tiny_models import naive

from repro.tasks import Item

from .conftest import Device

__all__ = ["recorder", "run", "seen", "stored"]


@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradient_are_the_definition(
    device: Device, tmp_path: Path, run: Run, recorder: Recorder, teacher: Path, student: Path, method: str
) -> None:
    run(tmp_path, method=method, micro_batch=3)
    assert len(recorder.sequences) == STEP
    loss, expected = reference(method, teacher, student, recorder.sequences)
    assert lines(tmp_path / "out")[0]["loss"] == pytest.approx(loss, rel=device.relative)
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    actual = {name: gradient.cpu().double() for name, gradient in recorder.gradients.items()}
    assert actual.keys() == expected.keys()
    clip = min(1.0, 1.0 / norm.item())
    error = torch.stack([(actual[name] - clip * gradient).norm() for name, gradient in expected.items()]).norm()
    assert error < device.relative * clip * norm


@pytest.mark.parametrize("method", METHODS)
def test_training_lowers_the_loss_and_saves_the_weights(device: Device, tmp_path: Path, run: Run, method: str) -> None:
    run(tmp_path, method=method, steps=12)
    rows = lines(tmp_path / "out")
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    weights = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_the_raw_reward_is_target_minus_policy(
    device: Device, tmp_path: Path, teacher: Path, student: Path, items: list[Item], seen: dict[str, list[Any]]
) -> None:
    """At the first step the policy is the teacher."""
    calibrate(tmp_path, teacher, student, items, steps=1)
    for row in range(0, 16, 5):
        prompt, sampled = seen["prompts"][0][row], seen["sampled"][0][row]
        policy, target = naive(teacher, prompt, sampled), naive(student, prompt, sampled)
        within = len(sampled) * device.nats
        assert seen["policy"][0][row].item() == pytest.approx(policy, abs=within)
        assert seen["raw"][0][row, 1].item() == pytest.approx(target - policy, abs=2 * within)


def test_a_calibration_moves_the_policy_and_merges_its_adapter(
    device: Device, tmp_path: Path, teacher: Path, student: Path, items: list[Item]
) -> None:
    calibrate(tmp_path, teacher, student, items, steps=4, learning_rate=5e-2, kl_beta=0.001)
    rows = lines(tmp_path / "out")
    assert rows[0]["kl"] == pytest.approx(0, abs=device.nats)
    assert rows[-1]["kl"] > 0.01
    before, after = (
        load_file(teacher / "model.safetensors"),
        load_file(tmp_path / "out" / "model" / "model.safetensors"),
    )
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
