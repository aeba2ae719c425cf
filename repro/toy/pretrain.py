"""Pretraining of a toy model: next-token loss on the completions of a corpus."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from repro.progress import Progress, silent
from repro.toy.corpus import Corpus, stream_pairs
from repro.toy.heads import initialise_heads
from repro.toy.world import World

DECAY = 0.5  # share of the steps, at the end, over which the learning rate falls to zero
ENCODED = 8192  # most texts encoded at once


@dataclass(frozen=True)
class Pretraining:
    """Plan of a pretraining run.

    Attributes:
        corpus: the texts.
        steps: optimiser steps.
        batch: texts per step.
        learning_rate: AdamW's, reached after `warmup` steps, then constant, then linear to zero over the last DECAY of
            the steps.
    """

    corpus: Corpus
    steps: int
    batch: int
    learning_rate: float
    warmup: int = 50


@dataclass(frozen=True)
class Trained:
    """The model, in evaluation mode, and its loss at each step (nats per completion token)."""

    model: PreTrainedModel
    losses: list[float]


def pretrain(
    world: World,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    plan: Pretraining,
    seed: int,
    progress: Progress = silent,
) -> Trained:
    """Train a model of that configuration from random weights; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    initialise_heads(model, tokenizer, prompt_frame(tokenizer))
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    rows = _encode(world, tokenizer, plan.corpus, seed, min(ENCODED, plan.steps * plan.batch))
    model.train()
    losses = []
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * _schedule(step, plan)
        loss = _completion_loss(model, [next(rows) for _ in range(plan.batch)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        progress(step + 1, plan.steps, "steps", f"loss {losses[-1]:.3f}")
    model.eval()
    return Trained(model, losses)


def _schedule(step: int, plan: Pretraining) -> float:
    return min(1.0, (step + 1) / plan.warmup, (plan.steps - step) / (DECAY * plan.steps))


def prompt_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """Return what the chat template writes before and after a prompt, up to the start of the completion."""
    turns = [{"role": "user", "content": "PROMPT"}]
    before, after = str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)).split(
        "PROMPT"
    )
    return before, after


def conversation_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str, str]:
    """Return what the chat template writes before a prompt, between it and its completion, and after both."""
    turns = [{"role": "user", "content": "PROMPT"}, {"role": "assistant", "content": "COMPLETION"}]
    before, rest = str(tokenizer.apply_chat_template(turns, tokenize=False)).split("PROMPT")
    between, after = rest.split("COMPLETION")
    return before, between, after


def _encode(
    world: World, tokenizer: PreTrainedTokenizerBase, corpus: Corpus, seed: int, texts: int
) -> Iterator[tuple[list[int], int]]:
    """Yield (token ids, index of the first completion token); a completion ends with one end-of-turn token.

    Args:
        texts: texts encoded at once; does not change the tokens.
    """
    before, after = prompt_frame(tokenizer)
    pairs = stream_pairs(world, corpus, seed)
    while True:
        prompts, completions = zip(*itertools.islice(pairs, texts))
        heads = tokenizer([before + prompt + after for prompt in prompts], add_special_tokens=False)["input_ids"]
        tails = tokenizer(list(completions), add_special_tokens=False)["input_ids"]
        for head, tail in zip(heads, tails):
            yield [*head, *tail, tokenizer.eos_token_id], len(head)


def _completion_loss(model: PreTrainedModel, rows: list[tuple[list[int], int]]) -> Tensor:
    """Return the mean of -log p over all completion tokens, right-padded (causal attention never sees the pad)."""
    length = max(len(ids) for ids, _ in rows)
    input_BT = torch.full((len(rows), length), model.config.pad_token_id)
    label_BT = torch.full((len(rows), length), -100)
    for row, (ids, start) in enumerate(rows):
        input_BT[row, : len(ids)] = torch.tensor(ids)
        label_BT[row, start : len(ids)] = torch.tensor(ids[start:])
    logits_BTV = model(input_ids=input_BT, use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(), label_BT[:, 1:].flatten(), ignore_index=-100
    )
