"""vLLM's share of a GPU that it shares with a trainer: all that the trainer leaves free while vLLM samples.

The two take turns: vLLM sleeps while the trainer computes, and TRL returns torch's unused memory to the GPU before vLLM
wakes. Weights, moments and the frozen model stay; activations and logits are gone by then. Gradients are gone too, but
are counted as present, since the blocks they leave in torch's allocator are often still partly in use.

No torch here: the planner uses the same functions.
"""

GIB = 2**30
MARGIN = 3 * GIB
"""ASSUMED: cuBLAS and NCCL workspaces, an adapter's merged layer, fragmentation in torch's allocator."""
MOST = 0.85
"""Largest share of a GPU that vLLM may take next to a trainer."""
LEAST_CACHE = 6 * GIB
"""KV cache that a plan requires next to vLLM's weights; at run time it gets all free memory."""
WEIGHTS_FACTOR = 1.1
"""Multiple of the bfloat16 weights that vLLM needs for weights, activations and CUDA graphs."""
FLOAT32, BFLOAT16 = 4, 2
MOMENTS = 2 * FLOAT32
"""AdamW's two moments per trained parameter."""


def engine_share(total: float, free: float, still_to_come: float) -> float:
    """Return the share of a GPU that vLLM takes, at most `MOST`; 0 or less if the trainer leaves nothing.

    Args:
        total: total bytes of the GPU.
        free: bytes free now.
        still_to_come: further bytes that the trainer will hold while vLLM samples.
    """
    return min((free - still_to_come - MARGIN) / total, MOST)


def engine_weights(parameters: float) -> float:
    """Return the bytes that vLLM needs without its KV cache."""
    return WEIGHTS_FACTOR * BFLOAT16 * parameters


def cache_bytes(total: float, free: float, still_to_come: float, parameters: float) -> float:
    """Return the bytes of vLLM's KV cache.

    Args:
        total, free, still_to_come: as in `engine_share`.
        parameters: parameters of the sampled model.
    """
    return engine_share(total, free, still_to_come) * total - engine_weights(parameters)


def training_bytes(parameters: float, trained: float, shards: int = 1, *, gradient_bytes: int = FLOAT32) -> float:
    """Return the bytes of float32 weights, gradients and moments on one GPU.

    Args:
        parameters: parameters of the model, including adapters.
        trained: number of trained parameters.
        shards: GPUs that share them.
        gradient_bytes: bytes per gradient element, including copies.
    """
    return (parameters * FLOAT32 + trained * (gradient_bytes + MOMENTS)) / shards
