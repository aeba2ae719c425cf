"""Keep freed memory in the process, so that the next tensor of the same size needs no new pages."""

import ctypes
import sys

KEPT_BYTES = 2**30
"""Freed memory that a process keeps at most."""
LARGEST_BYTES = 32 * 2**20
"""Largest block that is taken from the kept memory; glibc admits no more."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed; return False where there is no glibc, and nothing changes.

    By default it gives memory back as soon as a few tensors of a training step are freed, and takes it again at the next
    operation: the kernel then clears every page anew, a tenth of the processor time of a toy step. Blocks above
    `LARGEST_BYTES` are still given back at once. GPU memory is not affected.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(
        mallopt(parameter, value) == 1
        for parameter, value in ((_TRIM_THRESHOLD, KEPT_BYTES), (_MMAP_THRESHOLD, LARGEST_BYTES))
    )
