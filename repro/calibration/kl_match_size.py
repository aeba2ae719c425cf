"""Sizes of the KL measurement in `kl_match`, and the memory it needs. Imports no torch."""

PROMPTS, COMPLETIONS, TOKENS = 64, 4, 256
"""Training prompts, completions per prompt, and the completion cap in tokens."""
SAMPLED_TOKENS = 20_480
"""Padded tokens sampled in one batch. In the embedded world all completions fit into one."""
AT_ONCE = 4
"""Completions with logits in memory at the same time; each is computed by itself, with and without the adapter."""
_TEMPORARIES = 6
"""DERIVED: float64 tensors [tokens, vocabulary] at the peak of one completion's KL."""


def matching_bytes(parameters: float, layers: int, keys: int, vocabulary: int) -> float:
    """Return the bytes of a measurement: the model in float32, the KV cache of a batch, and the logits with their KL.

    Cache and logits are not needed at the same time, but memory freed by one may not be reusable by the other.

    Args:
        keys: total width of all key heads, which is also that of all value heads.
    """
    cache = 2 * SAMPLED_TOKENS * layers * keys * 4
    logits = TOKENS * vocabulary * (2 * AT_ONCE * 4 + _TEMPORARIES * 8)
    return 4 * parameters + cache + logits
