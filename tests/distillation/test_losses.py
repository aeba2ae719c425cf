"""The GKD formulas are TRL's loss: value and gradient, with masks and micro-batches."""

from collections.abc import Callable

import pytest
import torch
from trl.trainer.distillation_trainer import _chunked_divergence_loss

from repro.distillation.losses import TRL_BETA, forward_kl, reverse_kl

B, T, H, V = 4, 7, 5, 11
Loss = Callable[..., torch.Tensor]
LOSSES = {"gkd-fkl": forward_kl, "gkd-rkl": reverse_kl}


def pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Last hidden states [B, T, H] and output layers [V, H] of student and teacher, and a mask of uneven lengths."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(B, T, H), (V, H), (B, T, H), (V, H)]
    student, student_head, teacher, teacher_head = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    )
    mask_BT = torch.arange(T) < torch.tensor([7, 3, 0, 5])[:, None]
    return student.requires_grad_(), student_head.requires_grad_(), teacher, teacher_head, mask_BT


@pytest.mark.parametrize("method", LOSSES)
@pytest.mark.parametrize("micro_batch", [4, 2, 1])
def test_the_formula_is_trls_loss(method: str, micro_batch: int) -> None:
    student, student_head, teacher, teacher_head, mask_BT = pair()
    tokens = int(mask_BT.sum())
    parts = [slice(start, start + micro_batch) for start in range(0, B, micro_batch)]
    trl = [
        _chunked_divergence_loss(
            student[part],
            teacher[part],
            student_head,
            teacher_head,
            mask_BT[part],
            TRL_BETA[method],
            num_items_in_batch=torch.tensor(float(tokens)),
        )[0]
        for part in parts
    ]
    gradient = torch.autograd.grad(sum(trl), (student, student_head))
    logits, teacher_logits = student @ student_head.T, teacher @ teacher_head.T
    by_us = [LOSSES[method](logits[part], teacher_logits[part], mask_BT[part], tokens) for part in parts]
    torch.testing.assert_close(torch.stack(by_us), torch.stack(trl).double(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(sum(by_us), (student, student_head)), gradient, atol=1e-6, rtol=1e-5)
    logits = student @ student_head.T
    torch.testing.assert_close(LOSSES[method](logits, teacher_logits, mask_BT), torch.stack(by_us).sum())


@pytest.mark.parametrize("method", LOSSES)
def test_masked_positions_do_not_count(method: str) -> None:
    student, student_head, teacher, teacher_head, mask_BT = pair()
    logits = (student @ student_head.T).detach()
    teacher_logits = teacher @ teacher_head.T
    expected = LOSSES[method](logits, teacher_logits, mask_BT)
    logits[~mask_BT] = float("nan")
    logits.requires_grad_()
    loss = LOSSES[method](logits, teacher_logits, mask_BT)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == expected
    assert gradient[~mask_BT].abs().max() == 0
    assert gradient[mask_BT].abs().max() > 0


def test_each_direction_is_the_sum_over_its_own_distribution() -> None:
    """By hand: one position, two ids, p_S = (1/2, 1/2), p_T = (3/4, 1/4)."""
    p_S, p_T = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[0.75, 0.25]]])
    mask = torch.ones(1, 1)
    by_hand = {
        "gkd-fkl": 0.75 * torch.tensor(1.5).log() + 0.25 * torch.tensor(0.5).log(),
        "gkd-rkl": -0.5 * torch.tensor(1.5).log() - 0.5 * torch.tensor(0.5).log(),
    }
    for method, expected in by_hand.items():
        assert LOSSES[method](p_S.log(), p_T.log(), mask).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("method", LOSSES)
def test_nothing_that_counts_is_0_and_the_teacher_gets_no_gradient(method: str) -> None:
    student, student_head, teacher, teacher_head, mask_BT = pair()
    teacher_logits = (teacher @ teacher_head.T).requires_grad_()
    value = LOSSES[method](student @ student_head.T, teacher_logits, mask_BT)
    assert torch.autograd.grad(value, (student, teacher_logits), allow_unused=True)[1] is None
    nothing = LOSSES[method](student @ student_head.T, teacher_logits, torch.zeros_like(mask_BT))
    assert float(nothing.detach()) == 0
    assert not bool(torch.autograd.grad(nothing, student)[0].any())
