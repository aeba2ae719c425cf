"""GPU memory that torch has cached, and the GPU on which kernels run."""

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def free_gpu_memory() -> None:
    """Free what dropped models held: torch caches it, and another library on the GPU would not get it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def current_gpu(device: "torch.device") -> contextlib.AbstractContextManager[None]:
    """Make the device the current one, if it is a GPU: Triton launches kernels there, wherever their tensors are."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
