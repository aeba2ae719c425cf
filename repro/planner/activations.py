"""Bytes of activations of decoder models: kept for the backward pass, or held by a forward pass without gradients.

The coefficients count tensors in a Qwen3 or Gemma 3 layer with float32 weights under bfloat16 autocast and sdpa
attention. `tests/planner/test_activations.py` measures what such layers save and checks the counts to within a tenth.
"""

from repro.guards.config import TOKENS_AT_ONCE
from repro.planner.architectures import Architecture
from repro.training.vllm_memory import BFLOAT16, FLOAT32


def saved_by_layer(model: Architecture, tokens: int, length: int, *, adapters: bool = False) -> int:
    """Return the bytes that one layer keeps for the backward pass.

    Args:
        tokens: of the micro-batch, padding included.
        length: of its sequences: the attention mask has one row of this length per token.
        adapters: LoRA on all linear layers, which additionally keeps its inputs in float32 and bfloat16.
    """
    width = (
        8 * model.norms * model.hidden  # each normalisation: its input and its normalised value, in float32
        + 10 * model.hidden  # inputs of five linear layers
        + 14 * model.queries  # float32 before normalisation; after it, rotated, attended, keys and values repeated
        + 6 * model.keys
        + 8 * model.intermediate  # gate, its activation, up, and their product
        + 2 * length
    )
    if adapters:
        width += 6 * (2 * model.hidden + model.queries + model.intermediate)
    return tokens * width


def saved_for_backward(
    model: Architecture, tokens: int, length: int, *, checkpointed: bool, adapters: bool = False
) -> int:
    """Return the bytes all layers keep; with gradient checkpointing, their inputs (float32) plus a single layer."""
    layer = saved_by_layer(model, tokens, length, adapters=adapters)
    if not checkpointed:
        return model.layers * layer
    return model.layers * tokens * model.hidden * FLOAT32 + layer


def weight_copies(model: Architecture, *, checkpointed: bool, adapters: bool = False) -> int:
    """Return the bytes of the bfloat16 copies that autocast makes of the linear layers' float32 weights.

    Autocast caches the copies of trained weights until the forward pass ends; backward needs them unless it recomputes.
    """
    layers = 1 if checkpointed and adapters else model.layers
    return layers * model.layer_parameters * BFLOAT16


def held_by_forward(model: Architecture, tokens: int, length: int) -> int:
    """Return the peak bytes of a bfloat16 layer in a pass without gradients or cache."""
    width = 8 * model.hidden + 6 * model.queries + 6 * model.intermediate + 3 * length
    return tokens * width


def complete_logits(model: Architecture, tokens: int) -> int:
    """Return the bytes of the logits [tokens, vocabulary] in float32 held while training only the output layer.

    DERIVED, eight copies: the teacher's and the proxy's at completion tokens, two while the gradient is computed, and
    four in the part of the loss being computed.
    """
    return 4 * (tokens + min(tokens, TOKENS_AT_ONCE)) * model.vocabulary * FLOAT32
