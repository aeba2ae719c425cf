"""The reward model of the open tasks: a small sequence classifier with one logit, trained on preference pairs.

As usual, it starts from a language model that knows the facts. It has two more layers, the first of which can compare a
word with what the language model expected there. It is also trained to predict, for each word, whether it follows from
the words before it (process supervision), because the preference alone is one bit about twelve words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from repro.progress import Progress, silent
from repro.toy.heads import look_back
from repro.toy.preferences import Preference, check_words, preference_pairs
from repro.toy.pretrain import conversation_frame
from repro.toy.questions import Question
from repro.toy.world import World

NEW_LAYERS = 2
NEW_SCALE = 0.2
"""Scale of the new layers' output weights, small so that these layers change little at first."""
WEIGHT_OF_WRONG, WEIGHT_OF_RIGHT = 4.0, 0.6
"""One word in eight is wrong."""
UNCHECKED = -1.0


@dataclass(frozen=True)
class RewardTraining:
    """Plan for training a reward model.

    Attributes:
        steps: optimiser steps of `batch` pairs.
        learning_rate: the peak learning rate.
        words: weight of the word loss.
        centring: weight of (r_better + r_worse)^2. It fixes the offset that reward differences leave free, so that a
            half-right answer scores about one half.
    """

    steps: int
    batch: int
    learning_rate: float
    words: float
    centring: float


def train_reward_model(
    world: World, language_model: Path, plan: RewardTraining, seed: int, progress: Progress = silent
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[float]]:
    """Train a reward model.

    Returns the model in evaluation mode, its tokenizer, and its loss at each step: -log sigmoid(r_better - r_worse).
    """
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    torch.manual_seed(seed)
    model = _grow(language_model)
    word_head = torch.nn.Linear(model.config.hidden_size, 1)
    parameters = [*model.parameters(), *word_head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=plan.steps, pct_start=0.1)
    pairs = preference_pairs(world, "train", seed)
    model.train()
    losses = []
    for step in range(plan.steps):
        batch = _Batch(world, tokenizer, [next(pairs) for _ in range(plan.batch)])
        hidden_BTH = model.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).last_hidden_state
        last_BH = hidden_BTH[torch.arange(len(hidden_BTH)), batch.mask_BT.sum(1) - 1]
        logit_2B = model.score(last_BH)[:, 0].view(2, -1)
        loss = -torch.nn.functional.logsigmoid(logit_2B[0] - logit_2B[1]).mean()
        words = _word_loss(word_head(hidden_BTH)[..., 0], batch.follows_BT)
        (loss + plan.words * words + plan.centring * logit_2B.sum(0).square().mean()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        progress(step + 1, plan.steps, "steps", f"loss {losses[-1]:.3f}")
    model.eval()
    return model, tokenizer, losses


def _grow(language_model: Path) -> PreTrainedModel:
    """Return a classifier that begins with the layers of the language model and ends with new ones."""
    config = AutoConfig.from_pretrained(language_model, num_labels=1)
    layers = config.num_hidden_layers
    config.num_hidden_layers = layers + NEW_LAYERS
    config.layer_types = ["full_attention"] * config.num_hidden_layers
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    known = AutoModelForCausalLM.from_pretrained(language_model, dtype=torch.float32)
    model.model.load_state_dict(known.model.state_dict(), strict=False)
    with torch.no_grad():
        for layer in model.model.layers[layers:]:
            layer.self_attn.o_proj.weight *= NEW_SCALE
            layer.mlp.down_proj.weight *= NEW_SCALE
    look_back(model, layers, (1, 2))
    return model


def _word_loss(logit_BT: Tensor, follows_BT: Tensor) -> Tensor:
    """Return the weighted cross-entropy over the words with content."""
    is_checked_BT = follows_BT != UNCHECKED
    target_N = follows_BT[is_checked_BT]
    weight_N = torch.where(target_N == 1, WEIGHT_OF_RIGHT, WEIGHT_OF_WRONG)
    return torch.nn.functional.binary_cross_entropy_with_logits(logit_BT[is_checked_BT], target_N, weight=weight_N)


class _Batch:
    """The conversations of preference pairs, better ones first.

    Attributes:
        ids_BT, mask_BT: [B, T] tokens, right-padded.
        follows_BT: [B, T] 1 for a word that follows from the words before it, 0 for one that does not, else UNCHECKED.
    """

    def __init__(self, world: World, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Preference]) -> None:
        before, between, after = conversation_frame(tokenizer)
        rows: list[tuple[Question, str]] = [(pair.question, pair.better) for pair in pairs]
        rows += [(pair.question, pair.worse) for pair in pairs]
        texts = [before + question.prompt + between + text + after for question, text in rows]
        encoded = tokenizer(
            texts,
            add_special_tokens=False,
            padding=True,
            padding_side="right",
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        self.ids_BT, self.mask_BT = encoded["input_ids"], encoded["attention_mask"]
        self.follows_BT = torch.full(self.ids_BT.shape, UNCHECKED)
        ends_BT = encoded["offset_mapping"][..., 1]
        for row, (question, text) in enumerate(rows):
            end = len(before + question.prompt + between) - 1
            for word, follows in zip(text.split(), check_words(world, question, text), strict=True):
                end += 1 + len(word)
                if follows is not None:
                    self.follows_BT[row, (ends_BT[row] == end) & (self.mask_BT[row] == 1)] = float(follows)
