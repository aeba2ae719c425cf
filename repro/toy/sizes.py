"""Sizes: the configurations of teacher, student and calibration target in both families."""

from transformers import Gemma3TextConfig, PreTrainedTokenizerBase, Qwen3Config

from repro.toy.models import Family, Role

# hidden size, layers, feed-forward size. Depth decides: a direct answer needs about one layer for each link of the
# chain, a worked one only ever the next link.
SIZES: dict[Role, tuple[int, int, int]] = {
    "teacher": (96, 4, 256),
    "student": (64, 2, 160),
    "target": (24, 2, 64),
}
HEAD_DIM = 32  # the least that vLLM's CPU attention serves
HEADS: dict[Role, int] = {"teacher": 4, "student": 2, "target": 2}
MAX_TOKENS = 128
INITIAL_SPREAD = 0.08  # the usual 0.02 suits widths of thousands; here nothing would be learnt for a thousand steps


def config(family: Family, role: Role, tokenizer: PreTrainedTokenizerBase) -> Qwen3Config | Gemma3TextConfig:
    """The model configuration; the vocabulary and the special ids are the tokenizer's."""
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
    # Every layer attends to the whole (short) prompt: the sliding window would never be filled.
    return Gemma3TextConfig(
        **shared,
        query_pre_attn_scalar=shared["head_dim"],
        sliding_window=MAX_TOKENS,
        layer_types=["full_attention"] * layers,
    )
