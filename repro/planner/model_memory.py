"""GiB of a model and its parts, regardless of the stage."""

from repro.calibration.kl_match_size import matching_bytes
from repro.models.padded_batches import BACKWARD_TOKENS, FORWARD_TOKENS
from repro.planner.activations import FLOAT32, held_by_forward, saved_for_backward
from repro.planner.architectures import Architecture
from repro.training.optimisation import LARGE
from repro.training.vllm_memory import BFLOAT16

GIB = 2**30


def weights_gib(model: Architecture, bytes_each: int) -> float:
    """Return the GiB of an unsharded model."""
    return model.parameters * 1e9 * bytes_each / GIB


def lora_params(model: Architecture, rank: int) -> float:
    """Return the parameters of adapters on all linear layers, in units of 2**30.

    About 7 per layer, with inputs and outputs of 1 to 4 hidden sizes.
    """
    return model.layers * rank * 20 * model.hidden / GIB


def fsdp_gathered_gib(model: Architecture) -> float:
    """Return the GiB that full sharding gathers in a step.

    In bfloat16: the current layer, the next one, and the output layer, which stays until the end of the step. In
    float32: the output layer again, since TRL gathers it from its shards.
    """
    return 2 * layer_params(model) * BFLOAT16 + output_layer_params(model) * (BFLOAT16 + FLOAT32)


def layer_params(model: Architecture) -> float:
    """Return an upper bound on the parameters of one layer (embeddings included), in units of 2**30."""
    return model.parameters * 1e9 / GIB / model.layers


def output_layer_params(model: Architecture) -> float:
    """Return the parameters of the output layer, in units of 2**30."""
    return model.vocabulary * model.hidden / GIB


def gradient_gib(model: Architecture, length: int) -> float:
    """Return GiB of a float32 model while its gradient is accumulated in short passes and applied.

    The larger of model + gradient + backward pass and model + gradient + copy. The output layer never holds all logits.

    Args:
        length: tokens of the longest sequence.
    """
    is_large = model.parameters * 1e9 >= LARGE
    backward = 2 * saved_for_backward(model, max(length, BACKWARD_TOKENS), length, checkpointed=is_large)
    weights = weights_gib(model, FLOAT32)
    return 2 * weights + max(weights, backward / GIB)


def perturbed_gib(model: Architecture, length: int) -> float:
    """Return GiB of a model scored at two points along its gradient: taking the gradient, or the two scoring copies.

    Args:
        length: tokens of the longest sequence.
    """
    scoring = 2 * weights_gib(model, FLOAT32) + 2 * held_by_forward(model, FORWARD_TOKENS, length) / GIB
    return max(gradient_gib(model, length), scoring)


def matching_gib(model: Architecture) -> float:
    """Return GiB of matching a calibration's KL, on a GPU that the trained model has left."""
    return matching_bytes(model.parameters * 1e9, model.layers, model.keys, model.vocabulary) / GIB
