"""Hardware each scale needs, the default scale for a machine, which of its GPUs to use, and advice."""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.planner.cards import H100, Card, machine_gpu
from repro.recipes.studies import Scale
from repro.system import gpu_checks as accelerator
from repro.system.hardware import hardware
from repro.system.volumes import lost_volume


@dataclass(frozen=True)
class Requirements:
    """Requirements of a scale.

    Attributes:
        workers: cores or GPUs assumed in its hours.
        planned_on: the cards assumed in its hours, if `description` does not say.
        gpu_memory_gib: per GPU, as CUDA reports it.
    """

    description: str
    workers: int
    gpus: int
    gpu_memory_gib: float
    disk_gib: float
    planned_on: str = ""


REQUIREMENTS: dict[Scale, Requirements] = {
    "toy": Requirements("2 CPU cores and 4 GiB of memory", 2, 0, 0, 1),
    "small": Requirements("1 GPU with 24 GB or more", 1, 1, 22, 60, "an H100"),
    "paper": Requirements("8 GPUs with 80 GB each", 8, 8, 78, 1500, "8 H100s"),
}


DRIVER_GIB = 0.4
"""Memory of a card that CUDA does not give to programs. MEASURED on an H100: nvidia-smi says 79.6, CUDA 79.2. ASSUMED for others."""
ALIKE = 0.9
"""Share of the largest GPU's memory above which another GPU counts as equally large."""


def fits(scale: Scale, machine: dict[str, Any]) -> bool:
    """Return True if the machine's GPUs are sufficient."""
    return len(_sufficient_gpus(scale, machine)) >= REQUIREMENTS[scale].gpus


def _sufficient_gpus(scale: Scale, machine: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the GPUs that have the scale's memory and compute in bfloat16."""
    least = REQUIREMENTS[scale].gpu_memory_gib + DRIVER_GIB
    return [gpu for gpu in machine["gpus"] if gpu["memory_gib"] >= least and accelerator.has_bfloat16(gpu)]


def check_fits(scale: Scale, machine: dict[str, Any]) -> None:
    """Refuse to start hours of work on a machine that cannot finish.

    Raises:
        InputError: the machine is too small, or its GPUs cannot be used.
    """
    problem = accelerator.unusable_gpu(machine)
    if REQUIREMENTS[scale].gpus and problem:
        raise InputError(f"scale {scale}: {problem}.")
    if not fits(scale, machine):
        best, _ = automatic_scale(machine)
        raise InputError(
            f"scale {scale} needs {REQUIREMENTS[scale].description}; this machine has {describe_gpus(machine)}."
            f" Use --scale {best}, or `repro run --dry-run` to see the plan."
        )


def automatic_scale(machine: dict[str, Any]) -> tuple[Scale, str]:
    """Return the larger of toy and small that fits, and a line on what the next scale would need.

    The paper scale takes thousands of GPU-hours, so it must be requested explicitly.
    """
    best: Scale = "small" if fits("small", machine) else "toy"
    above: Scale = "paper" if best == "small" else "small"
    if fits(above, machine):
        return (
            best,
            f"scale {above} fits this machine too, but takes thousands of GPU-hours: --scale {above} chooses it",
        )
    return (
        best,
        f"scale {above} would need {REQUIREMENTS[above].description}; this machine has {describe_gpus(machine)}",
    )


def use_gpus_of(scale: Scale, machine: dict[str, Any]) -> dict[str, Any]:
    """Hide the GPUs a scale cannot use from this process and its children; return the machine as they see it.

    Toy runs on CPUs: its numbers and known verdicts are for float32. The other scales use the GPUs with bfloat16 and
    enough memory, so that a small card next to a large one does not dictate the layout.
    """
    if not REQUIREMENTS[scale].gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return hardware()
    return _use_gpus(_sufficient_gpus(scale, machine), machine)  # without one, `check_fits` reports what is there


def use_largest_gpus(machine: dict[str, Any]) -> dict[str, Any]:
    """Hide GPUs with less memory than the largest from this process and its children; return the machine as they see it.

    GPUs without bfloat16 are hidden too if there are others.
    """
    gpus = [gpu for gpu in machine["gpus"] if accelerator.has_bfloat16(gpu)] or machine["gpus"]
    least = max((gpu["memory_gib"] for gpu in gpus), default=0.0) * ALIKE
    return _use_gpus([gpu for gpu in gpus if gpu["memory_gib"] >= least], machine)


def _use_gpus(gpus: list[dict[str, Any]], machine: dict[str, Any]) -> dict[str, Any]:
    if not gpus:
        return machine
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu["uuid"] for gpu in gpus)
    return hardware()


def planned_gpu(scale: Scale, *, is_here: bool = True) -> Card:
    """Return the GPU whose hours a plan states: this machine's if it can run the scale, else an H100.

    Args:
        is_here: the stages would run on this machine, not as Slurm jobs.
    """
    machine = hardware()
    return machine_gpu(machine) if is_here and fits(scale, machine) else H100


def describe_gpus(machine: dict[str, Any]) -> str:
    """Name the GPUs and their memory, and what keeps one from computing in bfloat16."""
    return ", ".join(map(_describe_gpu, machine["gpus"])) or "no GPU"


def _describe_gpu(gpu: dict[str, Any]) -> str:
    if accelerator.has_bfloat16(gpu):
        return f"{gpu['name']} ({gpu['memory_gib']} GiB)"
    lack = f"compute capability {gpu['compute_capability']}, and bfloat16 needs {accelerator.LEAST_CAPABILITY}"
    return f"{gpu['name']} ({gpu['memory_gib']} GiB; {lack})"


def workers_for(scale: Scale, machine: dict[str, Any], ranks: int = 1) -> int:
    """Return the number of concurrent stages: one per core at toy scale; on GPUs, as many as get `ranks` GPUs each."""
    if scale == "toy":
        return max(1, min(8, machine["cpus"]))
    return max(1, len(machine["gpus"]) // ranks)


def advise_on_machine(out: Path) -> list[str]:
    """Return advice for `repro env`: the scale that fits, then each problem with its fix."""
    machine = hardware()
    lines = []
    scale, description = automatic_scale(machine)
    lines.append(f"scale auto means {scale}; {description}")
    lines += accelerator.gpu_problems(machine)
    if machine["cpus"] < 2:
        lines.append("one CPU core: the toy run will take about twice its ten minutes")
    if machine["memory_gib"] < 4:
        lines.append(f"{machine['memory_gib']} GiB of memory: the toy run needs 4 GiB")
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free < REQUIREMENTS[scale].disk_gib:
        lines.append(
            f"{free:.1f} GiB free at {existing}: scale {scale} needs {REQUIREMENTS[scale].disk_gib:g}; free some space, or use --out FOLDER"
        )
    if not os.access(existing, os.W_OK):
        user = " or, in docker run, --user $(id -u):$(id -g)" if machine["container"] else ""
        lines.append(f"{existing} is not writable: use --out FOLDER{user}")
    if machine["container"] and (line := lost_volume(out)):
        lines.append(line)
    if machine["gpus"] and not _is_installed("vllm"):
        lines.append(
            "there is a GPU, but vLLM is not installed: install the extra `gpu` (pip install 'distillability-repro[gpu]')"
        )
    return lines


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
