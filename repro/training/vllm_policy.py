"""vLLM in the trainer's own process, for the model that is being trained."""

import functools
import os
from typing import Any


def prepare_vllm() -> None:
    """Make the CPU build take new weights, and start fast. Call before a trainer is built; idle on a GPU.

    vLLM's CPU kernels repack every linear layer and drop its weight, so the first weight sync of the trainer
    finds nothing to load into. Without the packed kernels the weight stays. Compiling the model takes longer
    than the CPU is ever used for; TRL has no switch for it.
    """
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; of itself it takes half of the memory
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    import trl.generation.vllm_generation as colocated
    import vllm
    import vllm._custom_ops as ops
    import vllm.model_executor.layers.utils as layers

    ops._supports_onednn = False
    layers.check_cpu_sgl_kernel = lambda *args: False
    colocated.LLM = functools.partial(vllm.LLM, enforce_eager=True)


def vllm_arguments(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """What GRPOConfig and DistillationConfig take for colocated generation.

    Args:
        prompt_tokens: of the longest prompt, template included.
        completion_tokens: cap of a completion.
    """
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": prompt_tokens + completion_tokens,
        "vllm_gpu_memory_utilization": 0.3,
    }


def importance_arguments() -> dict[str, Any]:
    """GRPOConfig only: correct each token for the gap between vLLM's and the trainer's probabilities. TRL's
    default, one ratio for the whole sequence, masks long completions wholesale for a small gap per token."""
    return {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 3.0,
    }
