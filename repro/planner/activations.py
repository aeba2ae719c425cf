"""Bytes of activations of decoder models: kept for the backward pass, or held by a forward pass without gradients.

The coefficients are counts of tensors: in a layer of Qwen3 or Gemma 3, with weights in float32 under bfloat16 autocast and
sdpa attention. `tests/planner/test_activations.py` measures what such layers save, and holds the counts within a tenth.
"""

from repro.guards.config import TOKENS_AT_ONCE
from repro.planner.architectures import Architecture
from repro.training.vllm_memory import BFLOAT16, FLOAT32


def saved_by_layer(model: Architecture, tokens: int, length: int, *, adapters: bool = False) -> int:
    """Return the bytes that one layer keeps for the backward pass.

    Args:
        tokens: of the micro-batch, padding included.
        length: of its sequences: the attention mask is one row of that length a token.
        adapters: LoRA on all linear layers, which keeps its inputs in float32 and bfloat16 too.
    """
    width = (
        8 * model.norms * model.hidden  # each normalisation: its input, and the normalised, in float32
        + 10 * model.hidden  # inputs of five linear layers
        + 14
        * model.queries  # float32 before their normalisation; after it, rotated, attended, and keys and values repeated
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
    """Return the bytes that all layers keep; with gradient checkpointing their inputs (float32), and one layer at a time."""
    layer = saved_by_layer(model, tokens, length, adapters=adapters)
    if not checkpointed:
        return model.layers * layer
    return model.layers * tokens * model.hidden * FLOAT32 + layer


def weight_copies(model: Architecture, *, checkpointed: bool, adapters: bool = False) -> int:
    """Return the bytes of the linear layers' weights in bfloat16, which autocast makes of float32 weights.

    It caches those of trained weights until the forward pass is over, and the backward pass needs them unless it recomputes.
    """
    layers = 1 if checkpointed and adapters else model.layers
    return layers * model.layer_parameters * BFLOAT16


def held_by_forward(model: Architecture, tokens: int, length: int) -> int:
    """Return the bytes that a layer in bfloat16 holds at its peak in a pass without gradients or cache."""
    width = 8 * model.hidden + 6 * model.queries + 6 * model.intermediate + 3 * length
    return tokens * width


def complete_logits(model: Architecture, tokens: int) -> int:
    """Return the bytes of the logits that a training of the output layer alone holds, float32 [tokens, vocabulary].

    DERIVED, eight: those of the teacher and the proxy at completion tokens, and two while the gradient is made; and four of
    the part of the loss that is computed.
    """
    return 4 * (tokens + min(tokens, TOKENS_AT_ONCE)) * model.vocabulary * FLOAT32
