"""vLLM's share of a GPU without a trainer, based on free memory: vLLM refuses to start if asked for more than is free.

No torch here: it would create a CUDA context, and the planner uses the same functions.
"""

from collections.abc import Sequence

from repro.errors import InputError
from repro.system.gpus import memory_gib, misnumbered_slices

SAMPLING_SHARE = 0.9
"""Largest share of a GPU that vLLM takes when it has the GPU to itself."""
MARGIN_GIB = 2.0
"""ASSUMED: CUDA context and NCCL buffers, which vLLM does not count, and growth of other GPU users (a desktop)."""
RECEIVED_GIB = 3.0
"""DERIVED: new weights held by a server besides its cache: two packets of 1 GiB, and a third while one is replaced."""


def own_share(total: float, free: float, *, receives_weights: bool = False) -> float:
    """Return the share of a GPU that vLLM takes; 0 or less if nothing is free.

    Args:
        total: total GiB of the GPU.
        free: GiB free before vLLM starts.
        receives_weights: vLLM runs as a server that receives new weights.
    """
    margin = MARGIN_GIB + (RECEIVED_GIB if receives_weights else 0.0)
    return min((free - margin) / total, SAMPLING_SHARE)


def own_share_now(gpu_names: Sequence[str], *, receives_weights: bool = False) -> float:
    """Return the share that vLLM takes of each of these GPUs, given the free memory of the fullest one.

    `SAMPLING_SHARE` if nvidia-smi does not report it (MIG slices, unified memory).

    Raises:
        InputError: something else fills one of them.
    """
    shares = {SAMPLING_SHARE}
    for gpu, (free, total) in memory_gib(gpu_names).items():
        shares.add(share := own_share(total, free, receives_weights=receives_weights))
        if share <= 0:
            raise InputError(
                f"vLLM on {gpu}: only {free:.1f} of {total:.1f} GiB are free. Stop the other programs that use it (nvidia-smi), or name"
                " another GPU in CUDA_VISIBLE_DEVICES."
            )
    return round(min(shares), 3)


def check_slices(gpu_names: Sequence[str]) -> None:
    """Raise InputError for a MIG slice that vLLM cannot find, because it reads the slice's index as that of a GPU."""
    if lost := [name for name in gpu_names if name in misnumbered_slices()]:
        raise InputError(
            f"vLLM cannot use the MIG slice {lost[0]}, because it is not the first slice of its GPU. Name a GPU's first slice in"
            " CUDA_VISIBLE_DEVICES, or sample with --engine transformers."
        )
