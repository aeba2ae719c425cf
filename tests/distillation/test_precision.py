"""Mixed precision, which only GPUs use by default, on a CPU: all three losses multiply in bfloat16, weights stay float32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from distillation.reference import reference
from distillation.test_distill import METHODS, Recorder, Run, lines, recorder, run, stored
from torch.nn.modules.module import register_module_forward_hook

from repro.distillation import distill as module

__all__ = ["recorder", "run", "stored"]
ROUNDING = 0.02
"""Share of a loss or a gradient's norm, the bound of the same tests on a GPU (tests/device). Measured: 1.0 to 1.6 %."""


@pytest.fixture
def products():
    """The dtypes of what linear layers of the student return while it trains."""
    dtypes: set[torch.dtype] = set()

    def note(layer: Any, inputs: Any, output: Any) -> None:
        if isinstance(layer, torch.nn.Linear) and torch.is_grad_enabled() and layer.training:
            dtypes.add(output.dtype)

    handle = register_module_forward_hook(note)
    yield dtypes
    handle.remove()


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give trainers the arguments that they get on a GPU."""
    arguments = module.trainer_arguments
    monkeypatch.setattr(module, "trainer_arguments", lambda **named: arguments(**named) | {"bf16": True})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("mixed")
def test_products_are_bfloat16_and_the_gradient_is_the_definition_up_to_rounding(
    tmp_path: Path,
    run: Run,
    recorder: Recorder,
    products: set[torch.dtype],
    teacher: Path,
    student: Path,
    method: str,
) -> None:
    run(tmp_path, method=method, micro_batch=3)
    assert products == {torch.bfloat16}
    loss, expected = reference(method, teacher, student, recorder.sequences)
    assert lines(tmp_path / "out")[0]["loss"] == pytest.approx(loss, rel=ROUNDING)
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    clip = min(1.0, 1.0 / norm.item())
    errors = [(recorder.gradients[name].double() - clip * gradient).norm() for name, gradient in expected.items()]
    error = (torch.stack(errors).norm() / (clip * norm)).item()
    print(f"{method}: gradient's error {error:.4f}")
    assert 1e-4 < error < ROUNDING
    assert {gradient.dtype for gradient in recorder.gradients.values()} == {torch.float32}


@pytest.mark.parametrize("method", METHODS)
def test_a_cpu_multiplies_in_float32(tmp_path: Path, run: Run, products: set[torch.dtype], method: str) -> None:
    run(tmp_path, method=method, micro_batch=3)
    assert products == {torch.float32}
