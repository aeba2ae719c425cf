"""vLLM's share of a GPU on which a trainer lives too: all that the trainer leaves free while vLLM samples.

The two take turns: vLLM sleeps while the trainer computes, and before it wakes TRL returns torch's unused memory to the GPU.
Weights, moments and the frozen model stay; activations and logits are gone by then. Gradients are gone too, but they
are counted as present, since the blocks that they leave in torch's allocator are often still in part in use.

No torch here: the planner counts with the same functions.
"""

GIB = 2**30
MARGIN = 3 * GIB
"""ASSUMED: workspaces of cuBLAS and NCCL, an adapter's merged layer, fragments of torch's allocator."""
MOST = 0.85
"""Largest share of a GPU that vLLM takes next to a trainer."""
LEAST_CACHE = 6 * GIB
"""Key-value cache that a plan requires next to vLLM's weights; it gets all that is free."""
WEIGHTS_FACTOR = 1.1
"""Of the weights in bfloat16: what vLLM needs for them, its activations and its CUDA graphs."""
FLOAT32, BFLOAT16 = 4, 2
MOMENTS = 2 * FLOAT32
"""AdamW's two moments of each trained parameter."""


def engine_share(total: float, free: float, still_to_come: float) -> float:
    """Return the share of a GPU that vLLM takes, at most `MOST`; 0 or less if the trainer leaves nothing.

    Args:
        total: bytes of the GPU.
        free: bytes of it that are free now.
        still_to_come: bytes that the trainer will hold while vLLM samples, beyond those that it holds now.
    """
    return min((free - still_to_come - MARGIN) / total, MOST)


def engine_weights(parameters: float) -> float:
    """Return the bytes of vLLM without its cache."""
    return WEIGHTS_FACTOR * BFLOAT16 * parameters


def cache_bytes(total: float, free: float, still_to_come: float, parameters: float) -> float:
    """Return the bytes of vLLM's key-value cache.

    Args:
        total, free, still_to_come: as in `engine_share`.
        parameters: of the sampled model.
    """
    return engine_share(total, free, still_to_come) * total - engine_weights(parameters)


def training_bytes(parameters: float, trained: float, shards: int = 1, *, gradient_bytes: int = FLOAT32) -> float:
    """Return the bytes of float32 weights, gradients and moments on one GPU.

    Args:
        parameters: of the model, adapters included.
        trained: those of them that are trained.
        shards: GPUs that share them.
        gradient_bytes: of a gradient, copies included.
    """
    return (parameters * FLOAT32 + trained * (gradient_bytes + MOMENTS)) / shards
