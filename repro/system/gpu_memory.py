"""GPU memory cached by torch, and the current GPU for kernels."""

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def free_gpu_memory() -> None:
    """Free the memory of deleted models: torch caches it, so other libraries on the GPU could not use it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def current_gpu(device: "torch.device") -> contextlib.AbstractContextManager[None]:
    """Make the device current if it is a GPU: Triton launches kernels there, wherever their tensors are."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
