"""What each scale needs, the largest that fits a machine, and what a doctor would say."""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.recipes.study import Scale
from repro.system import gpu_checks as accelerator
from repro.system.hardware import hardware


@dataclass(frozen=True)
class Requirements:
    """What a scale needs. workers: cores or GPUs that its hours are counted for; gpu_memory_gib is that of each GPU, with a little slack for what the driver keeps."""

    words: str
    workers: int
    gpus: int
    gpu_memory_gib: float
    disk_gib: float


REQUIREMENTS: dict[Scale, Requirements] = {
    "toy": Requirements("2 CPU cores and 4 GiB of memory", 2, 0, 0, 1),
    "small": Requirements("1 GPU with 24 GB or more", 1, 1, 22, 60),
    "paper": Requirements("8 GPUs with 80 GB each", 8, 8, 78, 1500),
}


def fits(scale: Scale, machine: dict[str, Any]) -> bool:
    """Whether the machine's GPUs suffice."""
    need = REQUIREMENTS[scale]
    return sum(gpu["memory_gib"] >= need.gpu_memory_gib for gpu in machine["gpus"]) >= need.gpus


def check_fits(scale: Scale, machine: dict[str, Any]) -> None:
    """Refuse to start hours of work on a machine that cannot end it.

    Raises:
        InputError: the machine is too small, or its GPUs cannot be used.
    """
    fault = accelerator.missing_gpu(machine) or accelerator.old_driver(machine)
    if REQUIREMENTS[scale].gpus and fault:
        raise InputError(f"scale {scale}: {fault}.")
    if not fits(scale, machine):
        best, _ = largest_scale(machine)
        raise InputError(
            f"scale {scale} needs {REQUIREMENTS[scale].words}; this machine has {describe_gpus(machine)}."
            f" Use --scale {best}, or --dry-run to see the plan."
        )


def largest_scale(machine: dict[str, Any]) -> tuple[Scale, str]:
    """The largest scale that fits, and one line on what the next one would need."""
    order: tuple[Scale, ...] = ("paper", "small", "toy")
    best = next(scale for scale in order if fits(scale, machine))
    if best == "paper":
        return best, "the largest scale"
    above = order[order.index(best) - 1]
    return best, f"scale {above} would need {REQUIREMENTS[above].words}; this machine has {describe_gpus(machine)}"


def describe_gpus(machine: dict[str, Any]) -> str:
    """The GPUs in words."""
    names = [f"{gpu['name']} ({gpu['memory_gib']} GiB)" for gpu in machine["gpus"]]
    return ", ".join(names) if names else "no GPU"


def workers_for(scale: Scale, machine: dict[str, Any], ranks: int = 1) -> int:
    """Stages to run side by side: tiny models leave cores idle; on GPUs, as many as have `ranks` of them each."""
    if machine["gpus"]:
        return max(1, len(machine["gpus"]) // ranks)
    return max(1, min(8, machine["cpus"])) if scale == "toy" else 1


def advise_on_machine(out: Path) -> list[str]:
    """What a doctor would say: lines that start with a mend where something is amiss."""
    machine = hardware()
    lines = []
    scale, words = largest_scale(machine)
    lines.append(f"scale auto means {scale}; {words}")
    lines += accelerator.gpu_problems(machine)
    if machine["cpus"] < 2:
        lines.append("one CPU core: the toy run will take about twice its ten minutes")
    if machine["memory_gib"] < 4:
        lines.append(f"{machine['memory_gib']} GiB of memory: the toy run wants 4")
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free < REQUIREMENTS[scale].disk_gib:
        lines.append(
            f"{free:.1f} GiB free at {existing}: scale {scale} wants {REQUIREMENTS[scale].disk_gib:g}; free some, or use --out"
        )
    if not os.access(existing, os.W_OK):
        user = " or, in docker run, --user $(id -u):$(id -g)" if machine["container"] else ""
        lines.append(f"{existing} is not writable: use --out FOLDER{user}")
    if machine["gpus"] and not _has("vllm"):
        lines.append("a GPU without vLLM: install the extra `gpu` (pip install 'distillability-repro[gpu]')")
    return lines


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
