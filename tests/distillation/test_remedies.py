"""Value and gradient of every loss against exact enumeration, through TRL's own reduction."""

import math

import mpmath
import pytest
import torch
from distillation.loss_oracle import ORACLES, Position, Sequence, gradient, value
from torch import Tensor
from trl.trainer.distillation_trainer import _chunked_divergence_loss

import repro.distillation.loss_layer as layer
from repro.distillation.loss import LOSSES, TokenDistributions
from repro.distillation.loss_layer import Head, Step, compute_with
from repro.models import output_layer

B, T, V = 5, 5, 5
LENGTHS = (5, 2, 0, 3, 4)


def world(padding: float = 7.0) -> dict[str, Tensor]:
    """Logits of student, teacher and reference [B, T, V] in float64, ids, mask and rewards."""
    generator = torch.Generator().manual_seed(3)
    parts = {
        name: 1.5 * torch.randn(B, T, V, generator=generator, dtype=torch.float64)
        for name in ("student", "teacher", "reference")
    }
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    for logits in parts.values():
        logits[~mask] = padding
    ids = torch.randint(V, (B, T), generator=generator)
    return {**parts, "ids": ids, "mask": mask, "rewards": torch.tensor([0.0, 0.0, 1.0, 1.0, math.nan])}


def sequences(parts: dict[str, Tensor]) -> list[Sequence]:
    def row(name: str, b: int, t: int) -> list[mpmath.mpf]:
        return [mpmath.mpf(z) for z in parts[name][b, t].tolist()]

    return [
        Sequence(
            [
                Position(row("student", b, t), row("teacher", b, t), row("reference", b, t), int(parts["ids"][b, t]))
                for t in range(length)
            ],
            float(parts["rewards"][b]),
        )
        for b, length in enumerate(LENGTHS)
    ]


def computed(name: str, parts: dict[str, Tensor], rows: slice = slice(None), tokens: int = sum(LENGTHS)) -> Tensor:
    """The loss of some sequences as the trainers compute it: the output layers are the identity."""
    loss, eye = LOSSES.parse(name), torch.eye(V, dtype=torch.float64)
    mask = parts["mask"][rows]
    reference = Head(parts["reference"][rows].reshape(-1, V), eye) if "reference" in loss.reads else None
    step = Step(loss, mask, parts["ids"][rows], parts["rewards"][rows], reference)
    with compute_with(step):
        return _chunked_divergence_loss(
            parts["student"][rows],
            parts["teacher"][rows],
            eye,
            eye,
            mask.long(),
            1.0,
            num_items_in_batch=torch.tensor(float(tokens)),
        )[0]


@pytest.fixture(params=["kept", "in chunks"], autouse=True)
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits that are kept, and chunks of two tokens that are computed again."""
    if request.param == "in chunks":
        monkeypatch.setattr(output_layer, "BUDGET_BYTES", 0)
        monkeypatch.setattr(layer, "TILE_LOGITS", 2 * V)


@pytest.mark.parametrize("name", ORACLES)
def test_value_and_gradient_are_those_of_enumeration(name: str) -> None:
    is_trls = LOSSES.parse(name).trl_beta in (
        0.0,
        1.0,
    )  # in float32, and padding has to be finite (docs/conformance.md)
    parts, tolerance = world(7.0 if is_trls else math.nan), 1e-6 if is_trls else 1e-13
    parts["student"].requires_grad_()
    loss = computed(name, parts)
    (grad,) = torch.autograd.grad(loss, parts["student"])
    plain = sequences({key: part.detach() for key, part in parts.items()})
    assert loss.item() == pytest.approx(float(value(name, plain)), rel=tolerance)
    assert loss.item() > 0
    for b, rows in enumerate(gradient(name, plain)):
        expected = torch.tensor([[float(g) for g in row] for row in rows], dtype=torch.float64).reshape(-1, V)
        torch.testing.assert_close(grad[b, : len(rows)], expected, rtol=tolerance, atol=tolerance)
    assert not grad[~parts["mask"]].any()


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("micro_batch", [2, 1])
def test_micro_batches_add_up(name: str, micro_batch: int) -> None:
    parts = world()
    parts["student"].requires_grad_()
    together = computed(name, parts)
    split = sum(computed(name, parts, slice(start, start + micro_batch)) for start in range(0, B, micro_batch))
    torch.testing.assert_close(split, together, rtol=1e-6, atol=1e-7)
    grads = [torch.autograd.grad(loss, parts["student"])[0] for loss in (split, together)]
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ORACLES)
def test_nothing_that_counts_is_0(name: str) -> None:
    parts = world()
    parts["student"].requires_grad_()
    loss = computed(name, parts, slice(2, 3))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, parts["student"])[0].any()


@pytest.mark.parametrize("name", ORACLES)
def test_equal_models_have_no_divergence(name: str) -> None:
    parts = world()
    parts["teacher"] = parts["reference"] = parts["student"]
    assert abs(computed(name, parts).item()) < 1e-6


def test_a_bias_a_scale_and_a_softcap_are_the_models() -> None:
    """Against logits that are computed by hand."""
    parts = world()
    weight = torch.randn(V, V, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bias = torch.linspace(-1, 1, V, dtype=torch.float64).requires_grad_()
    hidden = parts["student"][0].clone().requires_grad_()
    head = torch.nn.Parameter(weight)
    ones = torch.ones(1, T, dtype=torch.bool)
    step = Step(LOSSES.parse("jsd"), ones, parts["ids"][:1], None, None)
    divergence, entropy = layer.weighted_divergence(
        step, Head(hidden, head, bias, 0.5, 3.0), Head(parts["teacher"][0], torch.eye(V, dtype=torch.float64))
    )
    grads = torch.autograd.grad(divergence.sum(), (hidden, head, bias))
    z = 3 * torch.tanh((hidden @ head.t() + bias) * 0.5 / 3)
    p, q = parts["teacher"][0].softmax(-1), z.softmax(-1)
    m = (p + q) / 2
    by_hand = (p * (p / m).log() + q * (q / m).log()).sum(-1) / 2
    torch.testing.assert_close(divergence, by_hand)
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=z).entropy())
    torch.testing.assert_close(grads, torch.autograd.grad(by_hand.sum(), (hidden, head, bias)))


def test_the_backward_pass_multiplies_as_the_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under autocast, which a backward pass leaves: bfloat16 products of all three models, the same numbers twice."""
    made: list[Tensor] = []
    products = Head.products

    def note(head: Head, *arguments: torch.dtype | None) -> Tensor:
        made.append(products(head, *arguments).detach())
        return made[-1].clone()

    monkeypatch.setattr(Head, "products", note)
    monkeypatch.setattr(output_layer, "BUDGET_BYTES", 0)
    parts = world()
    hidden = {name: parts[name][:2].reshape(-1, V).float() for name in ("student", "teacher", "reference")}
    hidden["student"].requires_grad_()
    weight = torch.randn(V, V, generator=torch.Generator().manual_seed(1))
    step = Step(
        LOSSES.parse("reference-anchored"), torch.ones(2, T), parts["ids"][:2], None, Head(hidden["reference"], weight)
    )
    with torch.autocast("cpu", torch.bfloat16):
        divergence, _ = layer.weighted_divergence(
            step, Head(hidden["student"], weight), Head(hidden["teacher"], weight)
        )
    count = len(made)
    divergence.sum().backward()
    assert len(made) == 2 * count > 0
    for first, again in zip(made[:count], made[count:]):
        assert first.dtype == torch.float32
        assert torch.equal(again, first)
    rounded = hidden["student"].detach().bfloat16().float() @ weight.bfloat16().float().T
    torch.testing.assert_close(made[0], rounded[: len(made[0])], rtol=1e-6, atol=1e-6)


def test_the_tail_makes_a_divergence_that_grows_to_the_kl_with_k() -> None:
    parts = world()
    values = [computed(f"top-k-tail(k={k})", parts).item() for k in (1, 2, 3, 4)]
    full = computed("rkl", parts).item()
    assert 0 < values[0] < values[1] < values[2] < values[3]
    assert values[3] == pytest.approx(full, rel=1e-6)


def test_the_gate_reads_the_rewards() -> None:
    """Nothing is gated if all is right; with all wrong exactly the sequences that the teacher prefers are."""
    parts = world()
    right, wrong = (parts | {"rewards": torch.full((B,), value)} for value in (1.0, 0.0))
    full = computed("rkl", parts).item()
    assert computed("wrong-trace-gate", right).item() == pytest.approx(full, rel=1e-6)
    assert 0 < computed("wrong-trace-gate", wrong).item() < full


def test_a_token_that_the_teacher_rules_out_costs_a_bounded_jsd() -> None:
    student = torch.randn(3, V, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher = torch.tensor([0.0, -torch.inf, 0.0, 0.0, -torch.inf], dtype=torch.float64).expand(3, V).log_softmax(-1)
    ids = torch.zeros(3, dtype=torch.long)
    tokens = TokenDistributions(student=student.log_softmax(-1), teacher=teacher, reference=None, ids=ids)
    loss_N = LOSSES.parse("jsd").per_token(tokens)
    assert (loss_N > 0).all()
    assert (loss_N < math.log(2)).all()
    assert torch.autograd.grad(loss_N.sum(), student)[0].isfinite().all()
    assert LOSSES.parse("fkl").per_token(tokens).isfinite().all()
    assert LOSSES.parse("rkl").per_token(tokens).isinf().all()
