"""Completions of a toy model, to measure its world: plain sampling, with walks and leaps chosen freely or forced."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from repro.toy.pretrain import prompt_frame
from repro.toy.questions import LEAP, Question
from repro.toy.world import OPENERS

Way = Literal["free", "walk", "leap"]


@dataclass(frozen=True)
class Completions:
    """Sampled completions, grouped by prompt.

    Attributes:
        questions: [n] the question of each.
        prompt_ids, token_ids: [n] token lists; the end of turn comes last if it was sampled.
        texts: [n] without control tokens.
    """

    questions: list[Question]
    prompt_ids: list[list[int]]
    token_ids: list[list[int]]
    texts: list[str]


@torch.no_grad()
def sample_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    group_size: int,
    *,
    seed: int,
    most: int = 32,
    way: Way = "free",
) -> Completions:
    """Sample `group_size` completions per question at temperature 1, with at most `most` tokens each.

    Args:
        way: walk and leap force every pair of the chain to be written that way.
    """
    before, after = prompt_frame(tokenizer)
    encoded = tokenizer(
        [before + question.prompt + after for question in questions],
        add_special_tokens=False,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    prompts = [ids[mask == 1].tolist() for ids, mask in zip(encoded["input_ids"], encoded["attention_mask"])]
    prompts = [prompt for prompt in prompts for _ in range(group_size)]
    asked = [question for question in questions for _ in range(group_size)]
    constrain = _Constraint(tokenizer, asked, way)
    generator = torch.Generator().manual_seed(seed)
    ended_B = torch.zeros(len(asked), dtype=torch.bool)
    columns = []
    output = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], use_cache=True)
    cache = output.past_key_values  # each prompt is prefilled once for all its completions
    cache.batch_repeat_interleave(group_size)
    logits_BV = output.logits[:, -1].repeat_interleave(group_size, 0)
    mask_BT = encoded["attention_mask"].repeat_interleave(group_size, 0)
    for step in range(most):
        prob_BV = constrain(logits_BV.float(), step).softmax(-1)
        next_B = torch.multinomial(prob_BV, 1, generator=generator)[:, 0].masked_fill(ended_B, -1)
        columns.append(next_B)
        mask_BT = torch.cat([mask_BT, (~ended_B).long()[:, None]], 1)
        ended_B |= next_B == tokenizer.eos_token_id
        if ended_B.all() or step + 1 == most:
            break
        output = model(
            input_ids=next_B.clamp(min=0)[:, None], attention_mask=mask_BT, past_key_values=cache, use_cache=True
        )
        logits_BV = output.logits[:, -1]
    token_ids = [[token for token in row if token >= 0] for row in torch.stack(columns, 1).tolist()]
    texts = tokenizer.batch_decode(token_ids, skip_special_tokens=True)
    return Completions(asked, prompts, token_ids, texts)


class _Constraint:
    """Forces the first token of each pair to be always the leap word, or never."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], way: Way) -> None:
        self.way = way
        (self.leap,) = tokenizer(f" {LEAP}", add_special_tokens=False)["input_ids"]
        self.opening = len(tokenizer(OPENERS[0], add_special_tokens=False)["input_ids"])
        self.operations_B = torch.tensor([len(question.operations) for question in questions])

    def __call__(self, logits_BV: Tensor, step: int) -> Tensor:
        position = step - self.opening
        if self.way == "free" or position < 0 or position % 2:
            return logits_BV
        inside_B1 = (position < self.operations_B)[:, None]
        is_leap_V = torch.arange(logits_BV.shape[1]) == self.leap
        forbidden_V = is_leap_V if self.way == "walk" else ~is_leap_V
        return logits_BV.masked_fill(inside_B1 & forbidden_V, -torch.inf)
