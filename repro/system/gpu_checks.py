"""Checks that GPUs can be used: one line per problem, each with its fix. Reads facts only, imports no torch."""

import platform
from typing import Any

LEAST_DRIVER = {12: "525", 13: "580"}
"""Oldest Linux driver of each CUDA major version (CUDA Toolkit release notes, minor version compatibility)."""
SHARED_MEMORY_GIB_PER_GPU = 1.0
"""NCCL's documentation recommends `--shm-size=1g`; Docker gives a container 64 MiB."""
LEAST_CAPABILITY = 8.0
"""Compute capability (Ampere) from which GPUs compute in bfloat16; vLLM refuses bfloat16 on others."""


def gpu_problems(machine: dict[str, Any]) -> list[str]:
    """Return everything that keeps this environment from using its GPUs."""
    checks = (missing_gpu, contradicting_gpus, old_driver, small_shared_memory, missing_build_tools)
    return [line for check in checks if (line := check(machine))]


def unusable_gpu(machine: dict[str, Any]) -> str | None:
    """Return the first problem that keeps any program from using the GPUs."""
    checks = (missing_gpu, contradicting_gpus, old_driver)
    return next((line for check in checks if (line := check(machine))), None)


def missing_gpu(machine: dict[str, Any]) -> str | None:
    """Report a CUDA build of torch without a visible GPU."""
    cuda = machine.get("cuda")
    if not cuda or machine["gpus"]:
        return None
    seen = f"no GPU is visible, although torch here is built for CUDA {cuda}"
    if machine.get("gpus_hidden"):
        return f"{seen}: CUDA_VISIBLE_DEVICES hides all {machine['gpus_hidden']} that nvidia-smi lists. Unset it, or name one"
    if machine.get("gpu_devices"):
        return (
            f"{machine['gpu_devices']} GPU device files, but nvidia-smi lists no usable GPU: the driver is absent or broken,"
            " a GPU is in MIG mode without slices, or this is a Slurm job without a GPU of its own. Fix it until"
            " `nvidia-smi -L` lists GPUs or slices"
        )
    if machine.get("container"):
        return (
            f"{seen}: start the container with --gpus all (the host needs NVIDIA's driver and Container Toolkit), or use"
            " the cpu image"
        )
    return f"{seen}: install NVIDIA's driver ({_least(cuda)} or newer) until `nvidia-smi` lists the GPUs"


def contradicting_gpus(machine: dict[str, Any]) -> str | None:
    """Report GPUs that nvidia-smi lists but CUDA programs would not find, or vice versa."""
    if not machine["gpus"]:
        return None
    listed = len(machine["gpus"]) + machine.get("gpus_hidden", 0)
    if machine.get("gpus_unknown"):
        names = ", ".join(machine["gpus_unknown"])
        return (
            f"CUDA_VISIBLE_DEVICES names {names}, which nvidia-smi does not list ({listed} GPUs): name GPUs by the numbers of"
            " `nvidia-smi` or by UUID (`nvidia-smi -L`; MIG slices by UUID only), or unset it"
        )
    physical = len({gpu.get("index", n) for n, gpu in enumerate(machine["gpus"])}) + machine.get("gpus_hidden", 0)
    if machine.get("gpu_devices", 0) > physical and not any("MIG" in gpu["name"] for gpu in machine["gpus"]):
        return (
            f"{machine['gpu_devices']} GPU device files, but nvidia-smi lists {physical}: a GPU has failed or is held back."
            " Restart the machine or the container, or name GPUs that work in CUDA_VISIBLE_DEVICES"
        )
    return None


def old_driver(machine: dict[str, Any]) -> str | None:
    """Report a driver with an older CUDA major version than torch's: compatibility only holds within one."""
    cuda, driver_cuda = machine.get("cuda"), machine.get("driver_cuda")
    if not (cuda and driver_cuda and machine["gpus"]) or _major(driver_cuda) >= _major(cuda):
        return None
    return (
        f"NVIDIA driver {machine['gpus'][0]['driver']} offers CUDA {driver_cuda}, and torch here is built for CUDA {cuda}:"
        f" update the host's driver to {_least(cuda)} or newer"
    )


def small_shared_memory(machine: dict[str, Any]) -> str | None:
    """Report a /dev/shm that is too small for several GPU workers to exchange tensors."""
    available, count = machine.get("shared_memory_gib"), len(machine["gpus"])
    need = SHARED_MEMORY_GIB_PER_GPU * count
    if available is None or available >= need:
        return None
    fix = (
        f"start the container with --shm-size={need:.0f}g or --ipc=host"
        if machine.get("container")
        else f"mount -o remount,size={need:.0f}G /dev/shm"
    )
    return f"/dev/shm holds {available * 1024:.0f} MiB, and {count} GPU(s) need {need:.0f} GiB: {fix}"


def missing_build_tools(machine: dict[str, Any]) -> str | None:
    """Report a machine where Triton's first kernel would fail, which may be hours into a run."""
    missing = machine.get("missing_build_tools")
    if not missing or not machine["gpus"] or not machine["cuda"]:
        return None
    major, minor, _ = platform.python_version_tuple()
    return (
        f"Triton compiles C code before its first GPU kernel, and {' and '.join(missing)} cannot be found:"
        f" apt install gcc python{major}.{minor}-dev, or whatever has a C compiler and Python's headers on this system"
    )


def has_bfloat16(gpu: dict[str, Any]) -> bool:
    """Return False for a GPU that is known to be too old for bfloat16."""
    return bool(gpu.get("compute_capability", LEAST_CAPABILITY) >= LEAST_CAPABILITY)


def describe_driver(machine: dict[str, Any]) -> str:
    """Describe the driver and CUDA in one line."""
    torch_build = f"torch built for CUDA {machine['cuda']}" if machine.get("cuda") else "torch built for the CPU"
    if not machine["gpus"]:
        return f"no NVIDIA driver seen, {torch_build}"
    return (
        f"NVIDIA driver {machine['gpus'][0]['driver']} (CUDA {machine.get('driver_cuda') or 'unknown'}), {torch_build}"
    )


def _major(version: str) -> int:
    return int(version.split(".")[0])


def _least(cuda: str) -> str:
    return LEAST_DRIVER.get(_major(cuda), f"one for CUDA {cuda}")
