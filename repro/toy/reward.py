"""The reward model of the open tasks: a small sequence classifier with one logit, trained on preference pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

from repro.progress import Progress, silent
from repro.toy.families import INITIAL_SPREAD
from repro.toy.preferences import pairs

BATCH = 256


@dataclass(frozen=True)
class RewardTraining:
    """steps of `batch` pairs at a peak learning_rate; centring: weight of (r_better + r_worse)^2, which fixes the
    offset that a difference of rewards leaves free, so that a half-right answer scores about one half."""

    steps: int
    batch: int
    learning_rate: float
    centring: float


def train_reward_model(
    tokenizer: PreTrainedTokenizerBase, plan: RewardTraining, seed: int, progress: Progress = silent
) -> tuple[PreTrainedModel, list[float]]:
    """The reward model, in evaluation mode, and its loss at each step: -log sigmoid(r_better - r_worse), nats."""
    torch.manual_seed(seed)
    model = Qwen3ForSequenceClassification(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            num_hidden_layers=3,
            intermediate_size=192,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=16,
            max_position_embeddings=128,
            initializer_range=INITIAL_SPREAD,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            num_labels=1,
        )
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=plan.steps, pct_start=0.1)
    rows = pairs(seed)
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
    return model, losses


@torch.no_grad()
def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], completions: Sequence[str]
) -> list[float]:
    """Logistic of the logit, in 0..1, for each completion of the prompt (the user message) at the same place."""
    rows = list(zip(prompts, completions, strict=True))
    scores: list[float] = []
    for first in range(0, len(rows), BATCH):
        scores += torch.sigmoid(_logits(model, tokenizer, rows[first : first + BATCH])).tolist()
    return scores


def _logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[tuple[str, str]]) -> Tensor:
    """[rows] raw rewards of the conversations."""
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}], tokenize=False
        )
        for prompt, completion in rows
    ]
    encoded = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt")
    return model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits[:, 0]
