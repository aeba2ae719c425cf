"""NVIDIA GPUs as reported by nvidia-smi, and which of them CUDA programs started here can see."""

import functools
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from repro.system.memory import memory_bytes

QUERY = "index,uuid,name,memory.total,driver_version,mig.mode.current"
SLICE_GIB_PER_GB = 0.95
"""GiB of memory per GB in the name of a MIG profile, rounded down (a 1g.10gb slice of an H100 has 9.6)."""
NO_DEVICE = ("-1", "NoDevFiles")
"""Entries in CUDA_VISIBLE_DEVICES that hide all GPUs listed after them."""


def installed_gpus() -> list[dict[str, Any]]:
    """Return index, UUID, name, memory (GiB), driver and compute capability of each GPU, in nvidia-smi's order.

    A GPU in MIG mode is replaced by its slices: CUDA programs see only those. A GPU that reports no memory of its own
    ("[N/A]") shares the machine's. One whose compute capability nvidia-smi does not tell has no such entry.
    """
    gpus: list[dict[str, Any]] = []
    capabilities = _compute_capabilities()
    for line in _ask(_run_once, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(QUERY.split(",")):
            continue
        index, uuid, name, memory, driver, mig = cells
        gpu: dict[str, Any] = {"index": index, "uuid": uuid, "name": name, "driver": driver}
        if uuid in capabilities:
            gpu["compute_capability"] = capabilities[uuid]
        if mig == "Enabled":
            gpus += [gpu | part | {"name": f"{name} {part['name']}"} for part in _slices(uuid)]
        else:
            mib = float(memory) if _is_figure(memory) else memory_bytes() / 2**20
            gpus.append(gpu | {"memory_gib": round(mib / 1024, 1)})
    return gpus


def _compute_capabilities() -> dict[str, float]:
    """Return the compute capability of each GPU by UUID.

    In a query of its own: old drivers (470) do not know the field, and answer no query that contains it.
    """
    answer = _ask(_run_once, "--query-gpu=uuid,compute_cap", "--format=csv,noheader,nounits")
    pairs = (line.split(",") for line in answer.splitlines() if line.count(",") == 1)
    return {uuid.strip(): float(figure) for uuid, figure in pairs if _is_figure(figure.strip())}


def free_gib() -> dict[str, float]:
    """Return the free memory (GiB) of each GPU visible to CUDA programs started here, by index (see `memory_gib`)."""
    return {gpu: round(free, 2) for gpu, (free, _) in memory_gib(visible_gpus()).items()}


def memory_gib(gpu_names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the currently free and the total memory of GPUs, in GiB, by index.

    Leaves out GPUs whose memory nvidia-smi does not report (MIG slices, "[N/A]"). Starts no program on the GPUs.

    Args:
        gpu_names: UUIDs.
    """
    memory: dict[str, tuple[float, float]] = {}
    query = "--query-gpu=index,uuid,memory.free,memory.total"
    for line in _ask(_run, query, "--format=csv,noheader,nounits").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4 and cells[1] in gpu_names and all(map(_is_figure, cells[2:])):
            memory[f"GPU {cells[0]}"] = float(cells[2]) / 1024, float(cells[3]) / 1024
    return memory


def _slices(uuid: str) -> list[dict[str, Any]]:
    """Return UUID, profile and memory of each MIG slice of a GPU."""
    _, _, after = _ask(_run_once, "-L").partition(f"(UUID: {uuid})")
    listed = re.split(r"^GPU ", after, maxsplit=1, flags=re.MULTILINE)[0]
    slices = re.findall(r"MIG (\S*?(\d+)gb\S*)\s.*?\(UUID: (MIG-[^)]+)\)", listed)
    return [
        {"name": f"MIG {profile}", "uuid": name, "memory_gib": round(SLICE_GIB_PER_GB * int(gb), 1)}
        for profile, gb, name in slices
    ]


def misnumbered_slices() -> list[str]:
    """Return the MIG slices whose number within their GPU exceeds the highest GPU number."""
    parts: dict[str, list[str]] = {}
    for gpu in installed_gpus():
        parts.setdefault(gpu["index"], []).append(gpu["uuid"])
    return [uuid for uuids in parts.values() for uuid in uuids[len(parts) :]]


def _is_figure(cell: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", cell) is not None


def _ask(run: Callable[..., str], *arguments: str) -> str:
    """Return nvidia-smi's output; empty if it is missing or fails."""
    try:
        return run(os.environ.get("PATH", ""), *arguments)
    except (OSError, subprocess.SubprocessError):
        return ""


def _run(_path: str, *arguments: str) -> str:
    command = ["nvidia-smi", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


_run_once = functools.cache(_run)
"""For facts that do not change: a call takes up to seconds, and GPUs do not come and go. Failures are not cached."""


def device_files(folder: Path = Path("/dev")) -> int:
    """Count the driver's device files: one per GPU; none in WSL2, where all GPUs share one file (/dev/dxg).

    Slurm shows all of a node's files but lets a job open only those of its own GPUs: only these count, unless there are
    none.
    """
    files = list(folder.glob("nvidia[0-9]*"))
    return len([file for file in files if os.access(file, os.R_OK | os.W_OK)] or files)


def split_visible(installed: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the installed GPUs that CUDA programs started here can see, and unknown names in CUDA_VISIBLE_DEVICES.

    Numbers are nvidia-smi's, in bus order. CUDA orders by speed, so child processes get UUIDs instead.
    """
    listed = _listed_names()
    if listed is None:
        return installed, []
    named = [(name, next((gpu for gpu in installed if _is_named(gpu, name)), None)) for name in listed]
    return [gpu for _, gpu in named if gpu], [name for name, gpu in named if not gpu]


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs visible to CUDA programs started here, by the names that CUDA_VISIBLE_DEVICES takes.

    UUIDs, or the names in the variable if nvidia-smi does not know them.
    """
    installed, listed = installed_gpus(), _listed_names()
    if listed is None:
        return tuple(gpu["uuid"] for gpu in installed) or tuple(str(n) for n in range(device_files()))
    return tuple(next((gpu["uuid"] for gpu in installed if _is_named(gpu, name)), name) for name in listed)


def _listed_names() -> list[str] | None:
    """Return the names in CUDA_VISIBLE_DEVICES, or None if it is not set."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return None
    names = [name.strip() for name in listed.split(",") if name.strip()]
    end = next((n for n, name in enumerate(names) if name in NO_DEVICE), len(names))
    return names[:end]


def _is_named(gpu: dict[str, Any], name: str) -> bool:
    """Return True for a GPU's number or a prefix of its UUID; slices have no number of their own."""
    return str(gpu["uuid"]).startswith(name) if name.startswith(("GPU-", "MIG-")) else _is_number(gpu, name)


def _is_number(gpu: dict[str, Any], name: str) -> bool:
    return name == gpu["index"] and not str(gpu["uuid"]).startswith("MIG-")
