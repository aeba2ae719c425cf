"""Sizes: the configurations of teacher, student and calibration target in both families."""

from transformers import Gemma3TextConfig, PreTrainedTokenizerBase, Qwen3Config

from repro.toy.models import Family, Role

# Hidden size, layers, feed-forward size. Depth decides: a direct answer needs about one layer per link of the chain, a
# worked answer only the next link.
SIZES: dict[Role, tuple[int, int, int]] = {
    "teacher": (96, 4, 256),
    "student": (64, 2, 160),
    "target": (24, 2, 64),
}
HEAD_DIM = 32  # the minimum of vLLM's attention on a CPU
HEADS: dict[Role, int] = {"teacher": 4, "student": 2, "target": 2}
MAX_TOKENS = 128
INITIAL_SPREAD = 0.08  # the usual 0.02 is for widths of thousands; here it would delay learning by a thousand steps


def model_config(family: Family, role: Role, tokenizer: PreTrainedTokenizerBase) -> Qwen3Config | Gemma3TextConfig:
    """Return the model configuration; vocabulary and special ids are those of the tokenizer."""
    hidden, layers, feed_forward = SIZES[role]
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": feed_forward,
        "num_attention_heads": HEADS[role],
        "num_key_value_heads": HEADS[role],
        "head_dim": HEAD_DIM,
        "max_position_embeddings": MAX_TOKENS,
        "tie_word_embeddings": True,
        "initializer_range": INITIAL_SPREAD,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if family == "qwen3":
        return Qwen3Config(**shared)
    # All layers attend to the complete (short) prompt: the sliding window would never be filled.
    return Gemma3TextConfig(
        **shared,
        query_pre_attn_scalar=shared["head_dim"],
        sliding_window=MAX_TOKENS,
        layer_types=["full_attention"] * layers,
    )
