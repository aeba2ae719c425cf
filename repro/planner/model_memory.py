"""GiB of a model and of its parts, whatever stage they are in."""

from repro.models.padded_batches import FORWARD_TOKENS
from repro.planner.activations import FLOAT32, held_by_forward, saved_for_backward
from repro.planner.architectures import Architecture
from repro.training.optimisation import LARGE
from repro.training.vllm_memory import BFLOAT16

GIB = 2**30


def weights_gib(model: Architecture, bytes_each: int) -> float:
    """Return GiB of an unsharded model."""
    return model.parameters * 1e9 * bytes_each / GIB


def lora_params(model: Architecture, rank: int) -> float:
    """Return the parameters of adapters on all linear layers, in units of 2**30.

    About 7 per layer, with inputs and outputs of 1 to 4 hidden sizes.
    """
    return model.layers * rank * 20 * model.hidden / GIB


def fsdp_gathered_gib(model: Architecture) -> float:
    """Return GiB that full sharding gathers in a step.

    In bfloat16: the current layer, the next one, and the output layer, which stays until the step is over. In float32:
    the output layer once more, as TRL gathers it from its shards.
    """
    return 2 * layer_params(model) * BFLOAT16 + output_layer_params(model) * (BFLOAT16 + FLOAT32)


def layer_params(model: Architecture) -> float:
    """Return an upper bound on the parameters of one layer (embeddings included), in units of 2**30."""
    return model.parameters * 1e9 / GIB / model.layers


def output_layer_params(model: Architecture) -> float:
    """Return the parameters of the output layer, in units of 2**30."""
    return model.vocabulary * model.hidden / GIB


def perturbed_gib(model: Architecture, length: int) -> float:
    """Return GiB of a model that is scored at two points along its own gradient, in float32.

    The largest of the backward pass of a sequence, beside model and gradient; of model, gradient and copy; and of the forward
    pass of the two. The output layer never holds all logits.

    Args:
        length: tokens of the longest sequence.
    """
    is_large = model.parameters * 1e9 >= LARGE
    backward = 2 * saved_for_backward(model, length, length, checkpointed=is_large)
    forward = 2 * held_by_forward(model, FORWARD_TOKENS, length)
    weights = weights_gib(model, FLOAT32)
    return 2 * weights + max(weights, backward / GIB, forward / GIB)
