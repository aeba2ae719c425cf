"""The output layer that keeps its logits equals TRL's, bit for bit, and leaves other cases to TRL."""

from typing import Any

import pytest
import torch
import trl.trainer.utils as trl_utils
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from repro.models import output_layer
from repro.models.loading import load_for_training, locate
from repro.models.output_layer import FullLogits, _OutputLayer

OUTPUTS = ("log_probs", "entropy", "is_top1")


def make_inputs(
    N: int, H: int, V: int, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(N + V)
    hidden = torch.randn(N, H, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(V, H, generator=generator, dtype=dtype).requires_grad_()
    return hidden, weight, torch.randint(V, (N,), generator=generator)


def through(layer: Any, N: int, H: int, V: int, masked: bool = True, **changes: Any) -> list[torch.Tensor]:
    """Return the results, then the gradients of a loss that leaves out every third position."""
    hidden, weight, targets = make_inputs(N, H, V)
    settings = {"temperature": 1.0, "chunk_size": 32768, "softcapping": None, "logit_scale": 1.0} | changes
    outputs = layer.apply(hidden, weight, None, targets, *settings.values(), OUTPUTS)
    log_prob, entropy, _, _, top = outputs
    is_kept = torch.arange(N) % 3 > 0 if masked else torch.ones(N, dtype=torch.bool)
    (-log_prob.masked_fill(~is_kept, 0).sum() / is_kept.sum()).backward()
    return [log_prob, entropy, top, hidden.grad, weight.grad]


@pytest.mark.parametrize(
    ("N", "H", "V"), [(1, 8, 5), (37, 64, 389), (2368, 64, 389), (96, 128, 1000), (500, 32, 9000), (4101, 64, 389)]
)
def test_every_bit_is_trls(N: int, H: int, V: int) -> None:
    for kept, chunked in zip(through(_OutputLayer, N, H, V), through(ChunkedLogProbFunction, N, H, V), strict=True):
        assert torch.equal(kept, chunked)


def test_the_definition_in_float64() -> None:
    """Cross-entropy, entropy and rank by plain autograd."""
    hidden, weight, targets = make_inputs(11, 6, 13, torch.float64)
    log_prob, entropy, top = FullLogits.apply(hidden, weight, targets, True, True)
    log_prob.sum().backward()
    gradients = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    logp_NV = (hidden @ weight.t()).log_softmax(-1)
    logp_NV.gather(1, targets[:, None]).sum().backward()
    torch.testing.assert_close(log_prob, logp_NV.gather(1, targets[:, None])[:, 0])
    torch.testing.assert_close(entropy, -(logp_NV.exp() * logp_NV).sum(-1))
    assert torch.equal(top, logp_NV.argmax(-1) == targets)
    torch.testing.assert_close(gradients, (hidden.grad, weight.grad))


def test_the_first_of_equal_logits_ranks_first() -> None:
    hidden, weight = torch.ones(3, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.5, 0.0]])
    for targets in (torch.tensor([1, 2, 0]), torch.tensor([2, 1, 3])):
        arguments = (hidden, weight, None, targets, 1.0, 32768, None, 1.0, OUTPUTS)
        assert torch.equal(_OutputLayer.apply(*arguments)[4], ChunkedLogProbFunction.apply(*arguments)[4])


@pytest.mark.parametrize(
    "changes", [{"temperature": 0.7}, {"softcapping": 30.0}, {"logit_scale": 0.5}, {"chunk_size": 64}]
)
def test_unsupported_settings_are_left_to_trl(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    monkeypatch.setattr(FullLogits, "apply", None)
    for kept, chunked in zip(
        through(_OutputLayer, 20, 8, 100, **changes),
        through(ChunkedLogProbFunction, 20, 8, 100, **changes),
        strict=True,
    ):
        assert torch.equal(kept, chunked)


def test_logits_beyond_the_budget_are_left_to_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_layer, "BUDGET_BYTES", 20 * 100 * 4 - 1)
    monkeypatch.setattr(FullLogits, "apply", None)
    through(_OutputLayer, 20, 8, 100)


def test_a_loss_of_the_entropy_is_refused() -> None:
    hidden, weight, targets = make_inputs(4, 3, 5)
    _, entropy, _ = FullLogits.apply(hidden, weight, targets, True, False)
    with pytest.raises(NotImplementedError, match="entropy"):
        entropy.sum().backward()


def test_it_replaces_trls_only_inside_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    before = trl_utils._ChunkedLogProbFunction, trl_utils._use_triton
    assert before[0] is ChunkedLogProbFunction
    with output_layer.keep_logits():
        with output_layer.keep_logits():
            assert trl_utils._ChunkedLogProbFunction is _OutputLayer
        assert trl_utils._ChunkedLogProbFunction is _OutputLayer
        assert trl_utils._use_triton is not before[1]
    assert (trl_utils._ChunkedLogProbFunction, trl_utils._use_triton) == before
    monkeypatch.setattr(trl_utils, "_ChunkedLogProbFunction", object())
    with pytest.raises(RuntimeError, match="output layer"), output_layer.keep_logits():
        pass


def forward_of(labels_BT: torch.Tensor) -> list[torch.Tensor]:
    """Return loss, entropies and ranks of TRL's forward of a small model, then its gradients."""
    model = load_for_training(locate("toy:qwen3-student"))
    trl_utils.add_fused_lm_head(model, outputs=OUTPUTS)
    result = model(input_ids=labels_BT.clamp(min=0), labels=labels_BT, fused_lm_head=True)
    result.loss.backward()
    return [result.loss, result.entropy, result.is_top1, *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("counted", [0, 1, 4])
def test_logits_are_of_the_counted_tokens_alone(counted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is the same up to rounding: TRL computes all positions, and masks after."""
    labels_BT = torch.randint(600, (3, 9), generator=torch.Generator().manual_seed(0))
    labels_BT[:, : 9 - counted] = -100
    expected = forward_of(labels_BT)
    apply, rows = FullLogits.apply, []
    monkeypatch.setattr(FullLogits, "apply", lambda hidden, *rest: rows.append(len(hidden)) or apply(hidden, *rest))
    with output_layer.keep_logits():
        actual = forward_of(labels_BT)
    assert rows == [3 * counted]
    assert len(actual) == len(expected) > 10
    torch.testing.assert_close(actual, expected)
