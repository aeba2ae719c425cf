"""GPU memory that torch has cached."""

import gc


def free_gpu_memory() -> None:
    """Free what dropped models held: torch caches it, and another library on the GPU would not get it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
