"""What a KL is measured on when it is to be matched (`kl_match`), and the memory that this takes. Imports no torch."""

PROMPTS, COMPLETIONS, TOKENS = 64, 4, 256
"""Training prompts, completions of each, and the most tokens of one."""
SAMPLED_TOKENS = 20_480
"""Padded tokens of the completions that are sampled at once. Those of the embedded world are one batch."""
AT_ONCE = 4
"""Completions whose logits are in memory at once: they are computed one by one, with the adapter and without."""
_TEMPORARIES = 6
"""DERIVED: tensors [tokens, vocabulary] in float64 at the peak of a completion's KL."""


def matching_bytes(parameters: float, layers: int, keys: int, vocabulary: int) -> float:
    """Return the bytes of a measurement: of a model in float32, of a batch's cache, and of the logits and their KL.

    The last two take turns, but what one frees may not serve the other.

    Args:
        keys: width of all key heads together, and of all value heads.
    """
    cache = 2 * SAMPLED_TOKENS * layers * keys * 4
    logits = TOKENS * vocabulary * (2 * AT_ONCE * 4 + _TEMPORARIES * 8)
    return 4 * parameters + cache + logits
