"""The divergence that keeps its logits equals TRL's, bit for bit, and leaves other cases to TRL."""

from typing import Any

import pytest
import torch
import trl.trainer.distillation_trainer as trl_distillation
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

from repro.distillation.divergence_layer import FullDivergence, _Divergence, keep_both_logits
from repro.distillation.losses import forward_kl, reverse_kl
from repro.models import output_layer


def make_inputs(N: int, V: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Return hidden states and weights of a student 64 and a teacher 96 wide."""
    generator = torch.Generator().manual_seed(N + V)
    shapes = ((N, 64), (V, 64), (N, 96), (V, 96))
    hidden, weight, *teacher = (torch.randn(*shape, generator=generator, dtype=dtype) / 4 for shape in shapes)
    return [hidden.requires_grad_(), weight.requires_grad_(), *teacher]


def through(layer: Any, N: int, V: int, beta: float, **changes: Any) -> list[torch.Tensor]:
    """Return divergence, entropy and the gradients of a loss that leaves out every third token."""
    hidden, weight, teacher_hidden, teacher_weight = make_inputs(N, V)
    settings = {"temperature": 1.0, "scale": 1.0, "softcap": None} | changes
    other = [settings["temperature"], settings["scale"], settings["softcap"], 1.0, None]
    divergence, entropy = layer.apply(hidden, weight, None, teacher_hidden, teacher_weight, None, beta, *other)
    is_kept = torch.arange(N) % 3 > 0
    (divergence.masked_fill(~is_kept, 0).sum() / is_kept.sum()).backward()
    return [divergence, entropy, hidden.grad, weight.grad]


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize(("N", "V"), [(2, 5), (37, 389), (2368, 389), (500, 9000), (4101, 389), (9000, 240)])
def test_every_bit_is_trls(N: int, V: int, beta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = through(ChunkedDivergenceFunction, N, V, beta)
    monkeypatch.setattr(ChunkedDivergenceFunction, "apply", None)  # not by falling back on it
    for kept, chunked in zip(through(_Divergence, N, V, beta), expected, strict=True):
        assert torch.equal(kept, chunked)


@pytest.mark.parametrize(("beta", "definition"), [(0.0, forward_kl), (1.0, reverse_kl)])
def test_the_definition_in_float64(beta: float, definition: Any) -> None:
    hidden, weight, teacher_hidden, teacher_weight = make_inputs(11, 13, torch.float64)
    divergence, entropy = FullDivergence.apply(hidden, weight, teacher_hidden, teacher_weight, beta)
    divergence.mean().backward()
    gradients = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    logits_NV = hidden @ weight.t()
    mask_1N = torch.ones(1, 11, dtype=torch.bool)
    loss = definition(logits_NV[None], (teacher_hidden @ teacher_weight.t())[None], mask_1N)
    loss.backward()
    torch.testing.assert_close(divergence.mean(), loss)
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=logits_NV).entropy())
    torch.testing.assert_close(gradients, (hidden.grad, weight.grad))


@pytest.mark.parametrize("changes", [{"temperature": 0.7}, {"softcap": 30.0}, {"scale": 0.5}, {"beta": 0.5}])
def test_unsupported_settings_are_left_to_trl(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    monkeypatch.setattr(FullDivergence, "apply", None)
    arguments = {"beta": 1.0} | changes
    for kept, chunked in zip(
        through(_Divergence, 20, 100, **arguments),
        through(ChunkedDivergenceFunction, 20, 100, **arguments),
        strict=True,
    ):
        assert torch.equal(kept, chunked)


def test_logits_beyond_the_budget_are_left_to_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_layer, "BUDGET_BYTES", 2 * 20 * 100 * 4 - 1)
    monkeypatch.setattr(FullDivergence, "apply", None)
    through(_Divergence, 20, 100, 1.0)


def test_it_replaces_trls_only_inside_the_context() -> None:
    before = trl_distillation._use_triton
    with keep_both_logits():
        assert trl_distillation.ChunkedDivergenceFunction is _Divergence
        assert trl_distillation._use_triton(torch.device("cpu"))
    assert trl_distillation.ChunkedDivergenceFunction is ChunkedDivergenceFunction
    assert trl_distillation._use_triton is before
