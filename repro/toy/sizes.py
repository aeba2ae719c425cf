"""Model configurations of teacher, student and calibration target in both families."""

from dataclasses import dataclass

from transformers import Gemma3TextConfig, PreTrainedTokenizerBase, Qwen3Config

from repro.toy.models import Family, Role


@dataclass(frozen=True)
class Size:
    """Hidden size, layers, feed-forward size and attention heads."""

    hidden: int
    layers: int
    feed_forward: int
    heads: int


# Depth is what matters: a leap takes two sequential look-ups, a walk one.
DEEP, SHALLOW = Size(64, 2, 192, 4), Size(32, 1, 64, 4)
SIZES: dict[Role, Size] = {
    "teacher": DEEP,
    "student": SHALLOW,
    "target": SHALLOW,
    "deep-student": DEEP,
    "strong-target": DEEP,
    "blind-target": SHALLOW,
}
HEAD_DIM = 32  # the minimum of vLLM's attention on a CPU
MAX_TOKENS = 128
INITIAL_SPREAD = 0.08  # the usual 0.02 is for widths of thousands; here it would delay learning by a thousand steps


def model_config(family: Family, size: Size, tokenizer: PreTrainedTokenizerBase) -> Qwen3Config | Gemma3TextConfig:
    """Return the model configuration, with vocabulary size and special ids from the tokenizer."""
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": size.hidden,
        "num_hidden_layers": size.layers,
        "intermediate_size": size.feed_forward,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "head_dim": HEAD_DIM,
        "attention_bias": True,  # for the heads that depend on distance alone (`repro/toy/heads.py`)
        "max_position_embeddings": MAX_TOKENS,
        "tie_word_embeddings": True,
        "initializer_range": INITIAL_SPREAD,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if family == "qwen3":
        return Qwen3Config(**shared)
    # All layers use full attention: prompts are too short to ever fill the sliding window.
    return Gemma3TextConfig(
        **shared,
        query_pre_attn_scalar=shared["head_dim"],
        sliding_window=MAX_TOKENS,
        layer_types=["full_attention"] * size.layers,
    )
