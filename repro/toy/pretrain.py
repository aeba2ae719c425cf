"""Pretraining of a toy model: next-token loss on the completions of a corpus."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from repro.progress import Progress, silent
from repro.toy.corpus import Mix, stream_pairs
from repro.toy.models import Family, Role
from repro.toy.sizes import model_config

BUCKETS = 3
DECAY = 0.3  # share of the steps, at the end, over which the learning rate falls to zero


@dataclass(frozen=True)
class Pretraining:
    """Plan of a pretraining.

    Attributes:
        mix: the corpus.
        steps: optimiser steps.
        batch: completions per step.
        learning_rate: of AdamW, reached after `warmup` steps, constant, and linear to zero over the last DECAY of the steps.
    """

    mix: Mix
    steps: int
    batch: int
    learning_rate: float
    warmup: int = 50


@dataclass(frozen=True)
class Trained:
    """The model, in evaluation mode, and its loss at each step (nats per completion token)."""

    model: PreTrainedModel
    losses: list[float]


def prompt_text(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """Return the prompt in the chat template, up to the start of the completion."""
    turns = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


def pretrain(
    family: Family,
    role: Role,
    tokenizer: PreTrainedTokenizerBase,
    plan: Pretraining,
    seed: int,
    progress: Progress = silent,
) -> Trained:
    """Train a model of that family and role from random weights; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(model_config(family, role, tokenizer), dtype=torch.float32)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    rows = _encode(tokenizer, plan.mix, seed)
    model.train()
    losses = []
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * _schedule(step, plan)
        batch = sorted((next(rows) for _ in range(plan.batch)), key=lambda row: len(row[0]))
        tokens = sum(len(ids) - start for ids, start in batch)
        total = 0.0
        for rows_of_bucket in _buckets(
            batch
        ):  # rows of similar length together: half of a mixed batch would be padding
            loss_B = _completion_loss(model, rows_of_bucket) / tokens
            loss_B.backward()
            total += loss_B.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(total)
        progress(step + 1, plan.steps, "steps", f"loss {total:.3f}")
    model.eval()
    return Trained(model, losses)


def _schedule(step: int, plan: Pretraining) -> float:
    return min(1.0, (step + 1) / plan.warmup, (plan.steps - step) / (DECAY * plan.steps))


def _encode(tokenizer: PreTrainedTokenizerBase, mix: Mix, seed: int) -> Iterator[tuple[list[int], int]]:
    """Yield (token ids, index of the first completion token); a completion ends with one end-of-turn token."""

    @functools.cache  # the corpus repeats itself, and rendering the template costs more than training on it
    def head(prompt: str) -> list[int]:
        return list(tokenizer(prompt_text(tokenizer, prompt), add_special_tokens=False)["input_ids"])

    @functools.cache
    def tail(completion: str) -> list[int]:
        return [*tokenizer(completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]

    for prompt, completion in stream_pairs(mix, seed):
        yield head(prompt) + tail(completion), len(head(prompt))


def _buckets(batch: list[tuple[list[int], int]]) -> Iterator[list[tuple[list[int], int]]]:
    size = -(-len(batch) // BUCKETS)
    for first in range(0, len(batch), size):
        yield batch[first : first + size]


def _completion_loss(model: PreTrainedModel, rows: list[tuple[list[int], int]]) -> Tensor:
    """Return the sum of -log p over all completion tokens of the rows, right-padded (causal attention never sees the pad)."""
    length = max(len(ids) for ids, _ in rows)
    input_BT = torch.full((len(rows), length), model.config.pad_token_id)
    label_BT = torch.full((len(rows), length), -100)
    for row, (ids, start) in enumerate(rows):
        input_BT[row, : len(ids)] = torch.tensor(ids)
        label_BT[row, start : len(ids)] = torch.tensor(ids[start:])
    logits_BTV = model(input_ids=input_BT, use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(), label_BT[:, 1:].flatten(), ignore_index=-100, reduction="sum"
    )
