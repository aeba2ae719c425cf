"""Hardware that each scale needs, the largest scale that fits a machine, and advice on the machine."""

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
    """Requirements of a scale.

    Attributes:
        workers: cores or GPUs that its hours are counted for.
        gpu_memory_gib: of each GPU, with a little slack for what the driver keeps.
    """

    description: str
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
    """Return True if the machine's GPUs suffice."""
    required = REQUIREMENTS[scale]
    return sum(gpu["memory_gib"] >= required.gpu_memory_gib for gpu in machine["gpus"]) >= required.gpus


def check_fits(scale: Scale, machine: dict[str, Any]) -> None:
    """Refuse to start hours of work on a machine that cannot finish it.

    Raises:
        InputError: the machine is too small, or its GPUs cannot be used.
    """
    problem = accelerator.missing_gpu(machine) or accelerator.old_driver(machine)
    if REQUIREMENTS[scale].gpus and problem:
        raise InputError(f"scale {scale}: {problem}.")
    if not fits(scale, machine):
        best, _ = largest_scale(machine)
        raise InputError(
            f"scale {scale} needs {REQUIREMENTS[scale].description}; this machine has {describe_gpus(machine)}."
            f" Use --scale {best}, or --dry-run to see the plan."
        )


def largest_scale(machine: dict[str, Any]) -> tuple[Scale, str]:
    """Return the largest scale that fits, and one line on what the next one would need."""
    order: tuple[Scale, ...] = ("paper", "small", "toy")
    best = next(scale for scale in order if fits(scale, machine))
    if best == "paper":
        return best, "the largest scale"
    above = order[order.index(best) - 1]
    return (
        best,
        f"scale {above} would need {REQUIREMENTS[above].description}; this machine has {describe_gpus(machine)}",
    )


def describe_gpus(machine: dict[str, Any]) -> str:
    """Name the GPUs and their memory."""
    names = [f"{gpu['name']} ({gpu['memory_gib']} GiB)" for gpu in machine["gpus"]]
    return ", ".join(names) if names else "no GPU"


def workers_for(scale: Scale, machine: dict[str, Any], ranks: int = 1) -> int:
    """Return how many stages run side by side: a core each at toy scale; on GPUs, as many as get `ranks` of them."""
    if machine["gpus"]:
        return max(1, len(machine["gpus"]) // ranks)
    return max(1, min(8, machine["cpus"])) if scale == "toy" else 1


def advise_on_machine(out: Path) -> list[str]:
    """Return advice for `repro env`: the scale that fits, then each problem with its fix."""
    machine = hardware()
    lines = []
    scale, description = largest_scale(machine)
    lines.append(f"scale auto means {scale}; {description}")
    lines += accelerator.gpu_problems(machine)
    if machine["cpus"] < 2:
        lines.append("one CPU core: the toy run will take about twice its ten minutes")
    if machine["memory_gib"] < 4:
        lines.append(f"{machine['memory_gib']} GiB of memory: the toy run needs 4")
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free < REQUIREMENTS[scale].disk_gib:
        lines.append(
            f"{free:.1f} GiB free at {existing}: scale {scale} needs {REQUIREMENTS[scale].disk_gib:g}; free some, or use --out"
        )
    if not os.access(existing, os.W_OK):
        user = " or, in docker run, --user $(id -u):$(id -g)" if machine["container"] else ""
        lines.append(f"{existing} is not writable: use --out FOLDER{user}")
    if machine["gpus"] and not _is_installed("vllm"):
        lines.append("a GPU without vLLM: install the extra `gpu` (pip install 'distillability-repro[gpu]')")
    return lines


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
