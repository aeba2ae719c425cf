"""The gradient of a model's mean loss on completions, and steps along it. B sequences, T tokens, V vocabulary."""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch.nn import functional

from repro.models.attention import repeated_keys
from repro.models.padded_batches import BACKWARD_TOKENS, padded_batches
from repro.training.optimisation import LARGE

ElementT = TypeVar("ElementT")

GRADIENT_BATCH = 32
GRADIENT_TOKENS = 4096
"""Most sequences, and most padded tokens, in one backward pass; they change the sum by rounding only."""


def spread(sequence: Sequence[ElementT], most: int) -> list[ElementT]:
    """Return at most `most` items, evenly spaced over the sequence, in order."""
    count = min(len(sequence), most)
    return [sequence[n * len(sequence) // count] for n in range(count)]


def mean_loss_gradient(
    model: Any,
    pairs: Sequence[tuple[list[int], list[int]]],
    most_tokens: int = GRADIENT_TOKENS,
    *,
    is_fused: bool = False,
) -> dict[str, torch.Tensor]:
    """Return the gradient of the mean negative log-likelihood of all completion tokens, by parameter.

    Args:
        pairs: prompt and completion tokens.
        most_tokens: padded tokens in one backward pass; a longer sequence gets a pass to itself.
        is_fused: the model has TRL's fused head (`add_fused_lm_head`), which never holds all logits.
    """
    tokens = sum(len(completion) for _, completion in pairs)
    model.zero_grad(set_to_none=True)
    for start in range(0, len(pairs), GRADIENT_BATCH):
        part = pairs[start : start + GRADIENT_BATCH]
        for batch in padded_batches(part, lambda pair: len(pair[0]) + len(pair[1]), most_tokens):
            (_summed_loss(model, batch, is_fused) / tokens).backward()
    gradients = {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return gradients


@repeated_keys()
def lean_gradient(model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """Return `mean_loss_gradient` in less memory: fused head, short passes, gradient checkpointing for large models.

    Leaves the model with TRL's fused head, in evaluation mode.
    """
    from trl.trainer.utils import add_fused_lm_head

    is_large = model.num_parameters() >= LARGE
    if is_large:
        model.gradient_checkpointing_enable()
    add_fused_lm_head(model)
    model.train(is_large)  # gradient checkpointing is active in training mode only
    gradients = mean_loss_gradient(model, pairs, BACKWARD_TOKENS, is_fused=True)
    model.eval()
    return gradients


def _summed_loss(model: Any, pairs: Sequence[tuple[list[int], list[int]]], is_fused: bool) -> torch.Tensor:
    width = max(len(prompt) + len(completion) for prompt, completion in pairs)
    ids_BT = torch.zeros(len(pairs), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    labels_BT = torch.full_like(ids_BT, -100)
    for row, (prompt, completion) in enumerate(pairs):
        end = len(prompt) + len(completion)
        ids_BT[row, :end] = torch.tensor(prompt + completion)
        mask_BT[row, :end] = 1
        labels_BT[row, len(prompt) : end] = torch.tensor(completion)
    device = model.device
    read = {"input_ids": ids_BT.to(device), "attention_mask": mask_BT.to(device)}
    if is_fused:
        log_probs: torch.Tensor = model(
            **read, labels=labels_BT.to(device), fused_lm_head=True, use_cache=False
        ).log_probs
        return -log_probs.sum()
    logits_BTV = model(**read).logits.float()
    return functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten().to(device), reduction="sum", ignore_index=-100
    )


def shifted(model: Any, gradients: dict[str, torch.Tensor], step: float) -> Any:
    """Return a copy of the model with `step` times the gradient added to its weights."""
    return shift(copy.deepcopy(model), gradients, step)


@torch.no_grad()
def shift(model: Any, gradients: dict[str, torch.Tensor], step: float) -> Any:
    """Add `step` times the gradient to the model's weights, in place; return the model."""
    for name, parameter in model.named_parameters():
        if name in gradients:
            parameter += step * gradients[name]
    return model
