"""Attention heads that the models of a world are initialised with.

A pretrained language model has heads that attend a fixed number of tokens back, and heads that attend to a token like
the current one and copy what is there. By chance, a one-layer model that reads a few million tokens learns them after
150 steps, after 1,500, or not at all (an operation means nothing without its state, so neither gives a gradient alone).
So the first layer of every model starts with three: one attends to the operation of the next step, one to the start,
and one matches the state with the options. They are trained like all other weights.
"""

import itertools
import string
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from repro.toy.world import OPENERS, OPERATIONS, STATES

SCALE = 4.0
"""Scale of the positional biases; the content of a head has a scale of about 2.5."""
FREQUENCIES = (1.2, 1.0, 0.7, 0.3)
"""Weights of the highest rotary frequencies in a positional head; together they single out one distance."""
POSITIONAL = 6
"""Number of rotary frequencies that a matching head ignores, because they resolve distances of a few tokens."""


@torch.no_grad()
def initialise_heads(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, frame: tuple[str, str]) -> None:
    """Initialise the heads of the first layer, and each option's embedding as the sum of its letter's and state's.

    Args:
        frame: what the chat template writes before and after a prompt.
    """
    _compose_options(model, tokenizer)
    distance = _distance_of_operation(tokenizer, frame)
    look_back(model, 0, (distance, distance + 1))
    attention = model.model.layers[0].self_attn
    rows = _rows(2, model)
    query_DH = attention.q_proj.weight[rows]
    half = model.config.head_dim // 2
    query_DH[:POSITIONAL] = query_DH[half : half + POSITIONAL] = 0
    attention.k_proj.weight[rows] = query_DH
    attention.o_proj.weight[:, rows] = attention.v_proj.weight[rows].T


@torch.no_grad()
def look_back(model: PreTrainedModel, layer: int, tokens_back: Sequence[int]) -> None:
    """Make the first heads of a layer attend that many tokens back, one head per distance."""
    attention = model.model.layers[layer].self_attn
    frequencies_F = _rotary_frequencies(model)
    for head, distance in enumerate(tokens_back):
        rows = _rows(head, model)
        attention.q_proj.bias[rows], attention.k_proj.bias[rows] = _positional_biases(distance, frequencies_F)


def _rows(head: int, model: PreTrainedModel) -> slice:
    size = model.config.head_dim
    return slice(head * size, (head + 1) * size)


def _rotary_frequencies(model: PreTrainedModel) -> Tensor:
    """Return [head size / 2] radians per token, for full-attention layers if the family has two kinds of layers."""
    embedding = model.model.rotary_emb
    frequencies = getattr(embedding, "inv_freq", None)
    return embedding.full_attention_inv_freq if frequencies is None else frequencies


def _positional_biases(tokens_back: int, frequencies_F: Tensor) -> tuple[Tensor, Tensor]:
    """Return query and key biases whose dot product, after rotation, is largest at that distance."""
    weight_F = torch.zeros_like(frequencies_F)
    weight_F[: len(FREQUENCIES)] = SCALE * torch.tensor(FREQUENCIES)
    angle_F = -tokens_back * frequencies_F
    query = torch.cat([weight_F * angle_F.cos(), weight_F * angle_F.sin()])
    return query, torch.cat([weight_F, torch.zeros_like(weight_F)])


def _distance_of_operation(tokenizer: PreTrainedTokenizerBase, frame: tuple[str, str]) -> int:
    """Return the distance in tokens from the first operation to the last token of the opening word."""
    prompt = " ".join(["start", str(STATES[0]), OPERATIONS[0], *"......."])
    ids = tokenizer(prompt.join(frame) + OPENERS[0], add_special_tokens=False)["input_ids"]
    return len(ids) - 1 - ids.index(_single_id(tokenizer, f" {OPERATIONS[0]}"))


def _compose_options(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    embedding_VH = model.get_input_embeddings().weight
    for letter, state in itertools.product(string.ascii_uppercase[: len(STATES)], STATES):
        parts = [_single_id(tokenizer, f" {text}") for text in (letter, state)]
        opening = "" if letter == "A" else " "  # a prompt begins with its first option
        embedding_VH[_single_id(tokenizer, f"{opening}{letter}{state}")] = embedding_VH[parts].sum(0)


def _single_id(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    (token_id,) = tokenizer(text, add_special_tokens=False)["input_ids"]
    return int(token_id)
