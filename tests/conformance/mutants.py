"""Wrong losses, each a few lines away from `repro.conformance.reference.loss`, and the cases that are meant to catch it.

A mutant has the arguments of the right loss. Shapes: B sequences, T positions, V vocabulary, N positions that count.
"""

import inspect
import math
from collections.abc import Callable

import torch
from torch import Tensor

from repro.conformance.batches import END
from repro.conformance.reference import divergence, log_probs, supports
from repro.conformance.reference import loss as right

MUTANTS: dict[str, tuple[Callable[..., Tensor], tuple[str, ...], dict[str, str]]] = {}
"""By name: the loss, the cases that must fail, and what is declared of it."""


def mutant(*targets: str, **declared: str) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        MUTANTS[function.__name__] = (function, targets, declared)
        return function

    return register


def passing_on(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    function.__signature__ = inspect.signature(right)  # type: ignore[attr-defined]
    return function


def pair(student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N, V] of both models at the positions that count, over the common tokens."""
    mask, V = labels != -100, min(student.shape[-1], teacher.shape[-1])
    return log_probs(student[mask][:, :V]), log_probs(teacher[mask][:, :V].detach())


def everywhere(student: Tensor, teacher: Tensor, mask: Tensor, beta: float) -> Tensor:
    """The divergence [B, T] of all positions, 0 where they do not count."""
    values = right_values(student, teacher, torch.where(mask, 0, -100), beta)
    return torch.zeros(mask.shape, dtype=values.dtype).masked_scatter(mask, values)


def right_values(student: Tensor, teacher: Tensor, labels: Tensor, beta: float) -> Tensor:
    return divergence(*pair(student, teacher, labels), beta)


def tokens(labels: Tensor, num_items: int | None = None) -> Tensor | int:
    return num_items or (labels != -100).sum().clamp(min=1)


def terms(loga: Tensor, logb: Tensor) -> Tensor:
    """The terms of KL(a||b) [N, V], without a look at impossible tokens."""
    return loga.exp() * (loga - logb)


# Which divergence


@mutant("forward-kl", "reverse-kl")
@passing_on
def directions_swapped(student_logits, teacher_logits, labels, beta=0.0, **rest):
    return right(student_logits, teacher_logits, labels, 1 - beta, **rest)


@mutant("reverse-kl")
@passing_on
def always_forward(student_logits, teacher_logits, labels, beta=0.0, **rest):
    return right(student_logits, teacher_logits, labels, 0.0 if beta == 1 else beta, **rest)


@mutant("jsd-between")
@passing_on
def mixture_swapped(student_logits, teacher_logits, labels, beta=0.0, **rest):
    return right(student_logits, teacher_logits, labels, beta if beta in (0, 1) else 1 - beta, **rest)


@mutant("beta-ends")
@passing_on
def beta_clamped(student_logits, teacher_logits, labels, beta=0.0, **rest):
    return right(student_logits, teacher_logits, labels, min(max(beta, 1e-6), 1 - 1e-6), **rest)


@mutant("jsd-bounded")
@passing_on
def jsd_in_bits(student_logits, teacher_logits, labels, beta=0.0, **rest):
    value = right(student_logits, teacher_logits, labels, beta, **rest)
    return value if beta in (0, 1) else value / math.log(2)


@mutant("self-distillation")
@passing_on
def hard_labels_mixed_in(student_logits, teacher_logits, labels, beta=0.0, **rest):
    ce = torch.nn.functional.cross_entropy(student_logits.flatten(0, 1), labels.flatten())
    return 0.5 * right(student_logits, teacher_logits, labels, beta, **rest) + 0.5 * ce


@mutant("per-token-sign")
def clipped_before_the_sum(student_logits, teacher_logits, labels, beta=0.0):
    logq, logp = pair(student_logits, teacher_logits, labels)
    pointwise = terms(logp, logq) if beta == 0 else terms(logq, logp)
    values = pointwise.clamp(max=0.06).sum(-1) if beta in (0, 1) else divergence(logq, logp, beta)
    return values.sum() / tokens(labels)


@mutant("forward-gradient")
def normaliser_detached(student_logits, teacher_logits, labels, beta=0.0):
    logq, logp = pair(student_logits, teacher_logits, labels)
    if beta == 0:
        logits = student_logits[labels != -100][:, : logq.shape[-1]]
        logq = logits - (logits - logq).detach()
    return divergence(logq, logp, beta).sum() / tokens(labels)


@mutant("reverse-gradient")
def weight_detached(student_logits, teacher_logits, labels, beta=0.0):
    logq, logp = pair(student_logits, teacher_logits, labels)
    if beta != 1:
        return divergence(logq, logp, beta).sum() / tokens(labels)
    return torch.where(logq > -math.inf, logq.detach().exp() * (logq - logp), 0.0).sum() / tokens(labels)


@mutant("jsd-gradient")
@passing_on
def jsd_half_detached(student_logits, teacher_logits, labels, beta=0.0, **rest):
    value = right(student_logits, teacher_logits, labels, beta, **rest)
    return value if beta in (0, 1) else beta * value + ((1 - beta) * value).detach()


@mutant("student-only")
def teacher_attached(student_logits, teacher_logits, labels, beta=0.0):
    mask, V = labels != -100, min(student_logits.shape[-1], teacher_logits.shape[-1])
    logq, logp = (log_probs(logits[mask][:, :V]) for logits in (student_logits, teacher_logits))
    return divergence(logq, logp, beta).sum() / tokens(labels)


@mutant("temperature")
@passing_on
def temperature_of_student_only(student_logits, teacher_logits, labels, beta=0.0, temperature=1.0, **rest):
    return right(student_logits / temperature, teacher_logits, labels, beta, 1.0, **rest)


@mutant("temperature")
@passing_on
def temperature_squared(student_logits, teacher_logits, labels, beta=0.0, temperature=1.0, **rest):
    return right(student_logits, teacher_logits, labels, beta, temperature, **rest) * temperature**2


@mutant("temperature")
@passing_on
def temperature_ignored(student_logits, teacher_logits, labels, beta=0.0, temperature=1.0, **rest):
    return right(student_logits, teacher_logits, labels, beta, 1.0, **rest)


# What counts


@mutant("padding-right", "reduction")
@passing_on
def mean_over_padding(student_logits, teacher_logits, labels, beta=0.0, **rest):
    return right(student_logits, teacher_logits, labels, beta, **rest) * tokens(labels) / labels.numel()


@mutant("padding-left")
def lengths_from_the_left(student_logits, teacher_logits, labels, attention_mask, beta=0.0):
    ends = attention_mask.sum(-1, keepdim=True) - 1
    inside = torch.arange(labels.shape[1]) < ends
    return right(student_logits, teacher_logits, labels.masked_fill(~inside, -100), beta)


@mutant("padding-nan")
def multiplied_by_the_mask(student_logits, teacher_logits, labels, beta=0.0):
    values = right_values(student_logits, teacher_logits, torch.zeros_like(labels), beta).view(labels.shape)
    return (values * (labels != -100)).sum() / tokens(labels)


@mutant("pad-is-end")
def padding_by_id(student_logits, teacher_logits, labels, input_ids, attention_mask, beta=0.0):
    padding = input_ids[attention_mask == 0]
    pad_id = int(padding[0]) if len(padding) else -1
    return right(student_logits, teacher_logits, labels.masked_fill(labels == pad_id, -100), beta)


@mutant("end-inside")
@passing_on
def cut_at_the_first_end(student_logits, teacher_logits, labels, beta=0.0, **rest):
    after = (labels == END).long().cumsum(-1) - (labels == END).long() > 0
    return right(student_logits, teacher_logits, labels.masked_fill(after, -100), beta, **rest)


@mutant("id-zero")
@passing_on
def positive_labels_only(student_logits, teacher_logits, labels, beta=0.0, **rest):
    return right(student_logits, teacher_logits, labels.masked_fill(labels == 0, -100), beta, **rest)


@mutant("hole-in-mask")
@passing_on
def mask_from_first_to_last(student_logits, teacher_logits, labels, beta=0.0, **rest):
    mask = (labels != -100).long()
    inside = (mask.cumsum(-1) > 0) & (mask.flip(-1).cumsum(-1).flip(-1) > 0)
    return right(student_logits, teacher_logits, torch.where(inside, labels.clamp(min=0), -100), beta, **rest)


@mutant("prompt-leak", "label-shift")
@passing_on
def one_prompt_token_counts(student_logits, teacher_logits, labels, beta=0.0, **rest):
    mask = labels != -100
    wider = mask | mask.roll(-1, dims=-1)
    return right(student_logits, teacher_logits, torch.where(wider, labels.clamp(min=0), -100), beta, **rest)


@mutant("label-shift")
@passing_on
def shifted_twice(student_logits, teacher_logits, labels, beta=0.0, **rest):
    return right(student_logits, teacher_logits, labels.roll(-1, dims=-1), beta, **rest)


@mutant("masked-row", reduction="sequence")
def mean_over_empty_sequences(student_logits, teacher_logits, mask, beta=0.0):
    values = everywhere(student_logits, teacher_logits, mask, beta).sum(-1)
    return (values / mask.sum(-1).clamp(min=1)).sum() / max(1, len(mask))


@mutant("all-masked", "empty-batch")
def mean_of_nothing(student_logits, teacher_logits, labels, beta=0.0):
    return right_values(student_logits, teacher_logits, labels, beta).mean()


# How it is reduced


@mutant("reduction")
@passing_on
def mean_over_vocabulary(student_logits, teacher_logits, labels, beta=0.0, **rest):
    return right(student_logits, teacher_logits, labels, beta, **rest) / student_logits.shape[-1]


@mutant("reduction")
def mean_over_sequences(student_logits, teacher_logits, mask, beta=0.0):
    values = everywhere(student_logits, teacher_logits, mask, beta).sum(-1)
    return (values / mask.sum(-1).clamp(min=1)).sum() / max(1, len(mask))


@mutant("micro-batches")
@passing_on
def mean_of_each_micro_batch(student_logits, teacher_logits, labels, beta=0.0, temperature=1.0, num_items=None, **rest):
    return right(student_logits, teacher_logits, labels, beta, temperature, None, **rest)


@mutant("micro-batch-gradient")
@passing_on
def gradient_of_the_local_mean(
    student_logits, teacher_logits, labels, beta=0.0, temperature=1.0, num_items=None, **rest
):
    value = right(student_logits, teacher_logits, labels, beta, temperature, num_items, **rest)
    local = right(student_logits, teacher_logits, labels, beta, temperature, None, **rest)
    return local - local.detach() + value.detach()


@mutant("masked-micro-batch")
def rescaled_local_mean(student_logits, teacher_logits, labels, beta=0.0, num_items=None):
    if num_items is None:
        return right(student_logits, teacher_logits, labels, beta)
    return right_values(student_logits, teacher_logits, labels, beta).mean() * (labels != -100).sum() / num_items


@mutant("one-token")
@passing_on
def last_token_dropped(student_logits, teacher_logits, labels, beta=0.0, **rest):
    mask = labels != -100
    last = mask & (mask.flip(-1).long().cumsum(-1).flip(-1) == 1)
    return right(student_logits, teacher_logits, labels.masked_fill(last, -100), beta, **rest)


@mutant("one-sequence")
@passing_on
def squeezed_batch(student_logits, teacher_logits, labels, beta=0.0, **rest):
    value = right(student_logits, teacher_logits, labels, beta, **rest)
    return value * tokens(labels) / labels.shape[-1] if len(labels) == 1 else value


@mutant("chunks")
def remainder_lost(student_logits, teacher_logits, labels, beta=0.0, chunk_size=None):
    values = right_values(student_logits, teacher_logits, labels, beta)
    size = max(1, min(chunk_size or len(values), len(values)))
    return values[: len(values) // size * size].sum() / tokens(labels)


# Vocabulary


@mutant("wider-teacher", "wider-student")
def normalised_before_the_cut(student_logits, teacher_logits, labels, beta=0.0):
    mask, V = labels != -100, min(student_logits.shape[-1], teacher_logits.shape[-1])
    logq, logp = (log_probs(logits[mask])[:, :V] for logits in (student_logits, teacher_logits.detach()))
    return divergence(logq, logp, beta).sum() / tokens(labels)


@mutant("wider-teacher")
def student_padded_with_zeros(student_logits, teacher_logits, labels, beta=0.0):
    missing = max(0, teacher_logits.shape[-1] - student_logits.shape[-1])
    return right(torch.nn.functional.pad(student_logits, (0, missing)), teacher_logits, labels, beta)


@mutant("impossible-tokens", "impossible-to-teacher", "impossible-to-student")
def infinity_minus_infinity(student_logits, teacher_logits, labels, beta=0.0):
    logq, logp = pair(student_logits, teacher_logits, labels)
    if beta not in (0, 1):
        return divergence(logq, logp, beta).sum() / tokens(labels)
    return (terms(logp, logq) if beta == 0 else terms(logq, logp)).sum() / tokens(labels)


@mutant("two-tokens")
def common_tokens_but_for_three(student_logits, teacher_logits, labels, beta=0.0):
    V = max(3, min(student_logits.shape[-1], teacher_logits.shape[-1]))
    if student_logits.shape[-1] < V:
        student_logits, teacher_logits = (torch.nn.functional.pad(x, (0, 1)) for x in (student_logits, teacher_logits))
    return right(student_logits, teacher_logits, labels, beta)


# Truncation


def top(student: Tensor, teacher: Tensor, labels: Tensor, beta: float, k: int | None) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the K likeliest tokens, neither normalised nor with a tail."""
    logq, logp = pair(student, teacher, labels)
    support = (logp if beta == 0 else logq).topk(k or logq.shape[-1], dim=-1).indices
    return logq.gather(-1, support), logp.gather(-1, support)


@mutant("top-k-sign")
def truncated_sum(student_logits, teacher_logits, labels, beta=0.0, top_k=None):
    return divergence(*top(student_logits, teacher_logits, labels, beta, top_k), beta).sum() / tokens(labels)


@mutant("top-k-sign")
def truncated_sum_clamped(student_logits, teacher_logits, labels, beta=0.0, top_k=None):
    values = divergence(*top(student_logits, teacher_logits, labels, beta, top_k), beta)
    return values.clamp(min=0).sum() / tokens(labels)


@mutant("top-k-all")
@passing_on
def one_token_short(student_logits, teacher_logits, labels, beta=0.0, top_k=None, **rest):
    return right(student_logits, teacher_logits, labels, beta, top_k=top_k and max(1, top_k - 1), **rest)


@mutant("top-k-tail")
def tail_of_the_teacher_for_both(student_logits, teacher_logits, labels, beta=0.0, top_k=None, add_tail=False):
    logq, logp = supports(*pair(student_logits, teacher_logits, labels), beta, top_k, add_tail)
    if add_tail:
        logq = torch.cat([logq[:, :-1], logp[:, -1:]], -1)
    return divergence(logq, logp, beta).sum() / tokens(labels)


@mutant("top-k-tail-gradient")
def tail_detached(student_logits, teacher_logits, labels, beta=0.0, top_k=None, add_tail=False):
    logq, logp = supports(*pair(student_logits, teacher_logits, labels), beta, top_k, add_tail)
    if add_tail:
        logq = torch.cat([logq[:, :-1], logq[:, -1:].detach()], -1)
    return divergence(logq, logp, beta).sum() / tokens(labels)


# Numerics


@mutant("large-logits")
def softmax_by_hand(student_logits, teacher_logits, labels, beta=0.0):
    mask, V = labels != -100, min(student_logits.shape[-1], teacher_logits.shape[-1])
    exps = [logits[mask][:, :V].float().exp() for logits in (student_logits, teacher_logits.detach())]
    logq, logp = ((x / x.sum(-1, keepdim=True)).log() for x in exps)
    return divergence(logq, logp, beta).sum() / tokens(labels)


@mutant("constants")
def logits_clamped(student_logits, teacher_logits, labels, beta=0.0):
    student_logits, teacher_logits = (x.masked_fill(x > 20, 20) for x in (student_logits, teacher_logits))
    return right(student_logits, teacher_logits, labels, beta)


@mutant("bf16-sign", "bf16-value")
def arithmetic_of_the_input(student_logits, teacher_logits, labels, beta=0.0):
    mask, V = labels != -100, min(student_logits.shape[-1], teacher_logits.shape[-1])
    logq, logp = (x[mask][:, :V].log_softmax(-1) for x in (student_logits, teacher_logits.detach()))
    return divergence(logq, logp, beta).sum() / tokens(labels)


@mutant("two-types")
@passing_on
def cast_to_the_teacher(student_logits, teacher_logits, labels, beta=0.0, **rest):
    if student_logits.dtype == torch.float32 and teacher_logits.dtype == torch.bfloat16:
        return arithmetic_of_the_input(student_logits.bfloat16(), teacher_logits, labels, beta)
    return right(student_logits, teacher_logits, labels, beta, **rest)
