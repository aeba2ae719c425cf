"""Models with the shapes of real ones and random weights, made in seconds without a download.

Time and memory do not depend on what the weights hold. Tokens come from the toy world's byte-level tokenizer, filled up
to the real vocabulary's size with tokens that no text contains.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from repro.tasks import Item
from repro.toy.tokenizers import train_tokenizer

VOCABULARY = 151_936
"""Rows of Qwen3's embeddings."""
PAIR: dict[str, dict[str, int]] = {
    "teacher": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28},
    "student": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28},
}
"""Qwen3-1.7B and Qwen3-0.6B: the pair of the small scale."""
HEADS = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
TINY_PAIR: dict[str, dict[str, int]] = {
    "teacher": {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2},
    "student": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
}
TINY_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
TINY_VOCABULARY = 1024
REWARD = {
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
"""Llama-3.1-8B, the reward model of the paper scale, with 4 of its 32 layers: a forward keeps one layer at a time."""
TINY_REWARD = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def make_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return the toy world's byte-level tokenizer with as many ids as `vocabulary`."""
    toy = train_tokenizer("qwen3")
    content = json.loads(toy.backend_tokenizer.to_str())
    known = content["model"]["vocab"]
    known |= {f"unused{number}": number for number in range(len(toy), vocabulary)}
    core = Tokenizer.from_str(json.dumps(content))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=toy.eos_token,
        pad_token=toy.pad_token,
        chat_template=toy.chat_template,
        padding_side="left",
    )


def save_pair(folder: Path, *, tiny: bool) -> dict[str, int]:
    """Save a teacher and a student in bfloat16 with a tokenizer; return their numbers of parameters.

    Their generation config asks for truncated sampling with a repetition penalty, as published ones do: every engine has to
    overrule it.
    """
    vocabulary = TINY_VOCABULARY if tiny else VOCABULARY
    tokenizer = make_tokenizer(vocabulary)
    parameters = {}
    for seed, (name, shape) in enumerate((TINY_PAIR if tiny else PAIR).items()):
        torch.manual_seed(seed)
        config = Qwen3Config(
            vocab_size=vocabulary,
            max_position_embeddings=40_960,
            tie_word_embeddings=True,
            dtype="bfloat16",
            **(TINY_HEADS if tiny else HEADS),
            **shape,
        )
        with torch.device(device()):
            model = Qwen3ForCausalLM(config).to(torch.bfloat16)
        model.generation_config = GenerationConfig(
            eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
            pad_token_id=tokenizer.pad_token_id,
            do_sample=True,
            temperature=0.6,
            top_k=20,
            top_p=0.95,
            repetition_penalty=1.1,
        )
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        parameters[name] = model.num_parameters()
        del model
    return parameters


def save_reward_model(folder: Path, tokenizer: Any, *, tiny: bool) -> None:
    """Save a sequence classifier with one logit, in bfloat16."""
    shape: Mapping[str, int] = TINY_REWARD if tiny else REWARD
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id, dtype="bfloat16", **shape
    )
    with torch.device(device()):
        model = LlamaForSequenceClassification(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_items(count: int) -> list[Item]:
    """Return prompts of about 200 tokens, the length of the small scale's."""
    filler = " 3 + 4 = 7 ," * 20
    return [Item(f"sum-{n}", "file-numeric", f"Known:{filler} {n} + {n + 1} = ?", str(2 * n + 1)) for n in range(count)]
