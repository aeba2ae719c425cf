"""vLLM in the trainer's own process, for the model that is being trained."""

import functools
import os
from pathlib import Path
from typing import Any

from repro.models import load_config

GIB = 2**30
CACHE_BYTES = 6 * GIB
"""Least key-value cache beside the weights that vLLM gets on a GPU."""


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


def vllm_arguments(
    model: Any, tokenizer: Any, prompt_tokens: int, completion_tokens: int, work: Path
) -> dict[str, Any]:
    """What GRPOConfig and DistillationConfig take for colocated generation.

    On a GPU vLLM sleeps while the trainer computes: its weights and cache leave the memory that gradients need.

    Args:
        model: the one that is trained.
        prompt_tokens: of the longest prompt, template included.
        completion_tokens: cap of a completion.
        work: where a folder that vLLM can read is written, if the model's own is another architecture.
    """
    import torch

    _readable_by_vllm(model, tokenizer, work)
    cuda = torch.cuda.is_available()
    total = torch.cuda.get_device_properties(0).total_memory if cuda else 0
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": prompt_tokens + completion_tokens,
        "vllm_gpu_memory_utilization": memory_share(model.num_parameters(), total) if cuda else 0.3,
        "vllm_enable_sleep_mode": cuda,
    }


def memory_share(parameters: int, total: int) -> float:
    """Share of a GPU of so many bytes that vLLM takes while it generates: weights in bfloat16, and a cache.

    At least 0.15, and never more than 0.6: the trainer's weights lie beside it.
    """
    return round(min(max((2.2 * parameters + CACHE_BYTES) / total, 0.15), 0.6), 3)


def _readable_by_vllm(model: Any, tokenizer: Any, work: Path) -> None:
    """vLLM starts from the folder that the model names, and the trainer then sends it weights by name: both must be of
    one architecture and size. They are not where only the text part of a checkpoint is trained, or its vocabulary was cut.
    """
    source = load_config(model.name_or_path)
    same = source.model_type == model.config.model_type and source.vocab_size == model.config.vocab_size
    if same:
        return
    folder = work / "vllm-start"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model.name_or_path = model.config._name_or_path = str(folder)


def importance_arguments() -> dict[str, Any]:
    """GRPOConfig only: correct each token for the gap between vLLM's and the trainer's probabilities. TRL's
    default, one ratio for the whole sequence, masks long completions wholesale for a small gap per token."""
    return {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 3.0,
    }
