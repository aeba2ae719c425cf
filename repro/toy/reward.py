"""The reward model of the open tasks: a small sequence classifier with one logit, trained on preference pairs."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from repro.progress import Progress, silent
from repro.toy.preferences import preference_pairs
from repro.toy.pretrain import conversation_frame
from repro.toy.world import World


@dataclass(frozen=True)
class RewardTraining:
    """Plan of the training of a reward model.

    Attributes:
        steps: optimiser steps of `batch` pairs.
        learning_rate: its peak.
        centring: weight of (r_better + r_worse)^2. It fixes the offset that a difference of rewards leaves free, so that a
            half-right answer scores about one half.
    """

    steps: int
    batch: int
    learning_rate: float
    centring: float


def train_reward_model(
    world: World, language_model: Path, plan: RewardTraining, seed: int, progress: Progress = silent
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[float]]:
    """Train a reward model that starts, as usual, from a language model that knows the facts.

    Returns the model in evaluation mode, its tokenizer, and its loss at each step: -log sigmoid(r_better - r_worse).
    """
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1, dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=plan.steps, pct_start=0.1)
    rows = preference_pairs(world, "train", seed)
    model.train()
    losses = []
    for step in range(plan.steps):
        batch = [next(rows) for _ in range(plan.batch)]
        better = [(prompt, good) for prompt, good, _ in batch]
        worse = [(prompt, bad) for prompt, _, bad in batch]
        logit_2B = _logits(model, tokenizer, [*better, *worse]).view(2, -1)
        loss = -torch.nn.functional.logsigmoid(logit_2B[0] - logit_2B[1]).mean()
        (loss + plan.centring * logit_2B.sum(0).square().mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        progress(step + 1, plan.steps, "steps", f"loss {losses[-1]:.3f}")
    model.eval()
    return model, tokenizer, losses


def _logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[tuple[str, str]]) -> Tensor:
    """Return [rows], the raw rewards of the conversations."""
    before, between, after = conversation_frame(tokenizer)
    texts = [before + prompt + between + completion + after for prompt, completion in rows]
    encoded = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt")
    return model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits[:, 0]
