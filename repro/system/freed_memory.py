"""Keep freed memory in the process, so the next tensor of the same size needs no new pages."""

import ctypes
import sys

KEPT_BYTES = 2**30
"""Maximum freed memory that a process keeps."""
LARGEST_BYTES = 32 * 2**20
"""Largest block served from the kept memory; glibc's upper limit."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory; without glibc, change nothing and return False.

    By default, glibc returns memory to the kernel as soon as a training step frees a few tensors, and requests it again
    at the next operation; the kernel then zeroes every page, a tenth of a toy step's CPU time. Blocks above
    `LARGEST_BYTES` are still returned at once. GPU memory is not affected.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(
        mallopt(parameter, value) == 1
        for parameter, value in ((_TRIM_THRESHOLD, KEPT_BYTES), (_MMAP_THRESHOLD, LARGEST_BYTES))
    )
