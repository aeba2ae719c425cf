"""Allocate this machine's GPUs to stages: each gets as many as it needs, and no GPU is shared."""

from collections.abc import Iterable
from dataclasses import replace

from repro.errors import InputError
from repro.generation.gpu_share import check_slices
from repro.pipeline.cluster import Execution
from repro.planner.placement import Cards, machine_cards, place
from repro.planner.resources import Resources
from repro.stages import Stage
from repro.system.gpus import installed_gpus, misnumbered_slices, visible_gpus

GpuNames = tuple[str, ...]


class GpuPool:
    """Allocated and free GPUs: none on Slurm, where jobs bring their own.

    Args:
        execution: the `ranks` of its resources are the minimum that a stage gets.

    Raises:
        InputError: there are GPUs, but fewer than a single stage should get.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        resources = execution.resources
        self._names: tuple[str, ...] = visible_gpus() if execution.backend != "slurm" else ()
        self._free = list(self._names)
        self._total = len(self._free)
        self._lost_slices = [name for name in misnumbered_slices() if name in self._free]
        self._cards = visible_cards() if self._total else None
        if self._total and resources.gpu_count > self._total:
            server = f" --vllm-server {resources.vllm_server}" if resources.vllm_server else ""
            raise InputError(
                f"--ranks {resources.ranks}{server}: this machine has {self._total} GPUs; request no more than that."
            )

    def acquire(self, ready: Iterable[Stage], *, limit: int) -> list[tuple[Stage, GpuNames]]:
        """Return at most `limit` stages to start now, each with its GPUs (none if the machine has none).

        Later stages do not overtake one that is waiting for GPUs: it could starve until the study ends.

        Raises:
            InputError: a stage needs more GPUs than there are, or vLLM would not find its GPU.
        """
        started: list[tuple[Stage, GpuNames]] = []
        for stage in ready:
            need = self._need(stage)
            if self._total and need > self._total:
                raise InputError(
                    f"{stage.label} needs {need} GPUs, and there are {self._total}: lower --ranks, --tensor-parallel or --vllm-server."
                )
            if need and _samples_with_vllm(stage) and self._total == len(self._lost_slices):
                check_slices(self._lost_slices)
            if need > 1 and any(name.startswith("MIG-") for name in self._free):
                raise InputError(
                    f"{stage.label} needs {need} GPUs, and MIG slices cannot work together: use one slice with more memory,"
                    " or switch MIG off."
                )
            usable = [name for name in self._free if not (_samples_with_vllm(stage) and name in self._lost_slices)]
            if len(started) == limit or need > len(usable):
                break
            started.append((stage, tuple(usable[:need])))
            self._free = [name for name in self._free if name not in usable[:need]]
        return started

    def _need(self, stage: Stage) -> int:
        if not self._total or not stage.workload.uses_gpu:
            return 0
        return resolve_layout(stage, self._execution.resources_of(stage), self._cards).gpu_count

    def release(self, gpu_names: GpuNames) -> None:
        """Take back the GPUs of a stage that has ended.

        GPUs are handed out in the machine's order: with `--cluster none`, the next stage runs in the same process,
        which cannot switch to another GPU once it has used one.
        """
        self._free = [name for name in self._names if name in self._free or name in gpu_names]


def _samples_with_vllm(stage: Stage) -> bool:
    return stage.workload.samples and stage.workload.engine == "vllm"


def with_gpus(stage: Stage, resources: Resources, gpu_names: GpuNames) -> Resources:
    """Return the resources of a stage that was given these GPUs; without GPUs, its ranks stay as requested."""
    server = resources.vllm_server if stage.workload.samples_while_training else 0
    ranks = len(gpu_names) - server if gpu_names else resources.ranks
    return replace(resources, gpus=gpu_names, ranks=ranks, vllm_server=server)


def visible_cards(gpu_names: GpuNames = ()) -> Cards | None:
    """Return these GPUs, or all that CUDA programs started here can see, with the memory of the smallest.

    None if nvidia-smi reports none. A name unknown to nvidia-smi may be any of the machine's GPUs.
    """
    names, installed = gpu_names or visible_gpus(), installed_gpus()
    known = [gpu for gpu in installed if gpu.get("uuid") in names]
    machine = machine_cards({"gpus": known if len(known) == len(names) else installed})
    return Cards(len(names), machine.gib) if names and machine else None


def resolve_layout(stage: Stage, resources: Resources, cards: Cards | None) -> Resources:
    """Fill in every choice the resources leave open for this stage on these GPUs, using the memory estimate."""
    if cards is None or resources.micro_batch is None:  # no GPU to fit into, or models that fit on any
        trains = stage.workload.trains
        is_sharded = trains and resources.shard == "always" and resources.ranks > 1
        tensor_parallel = 1 if trains else max(resources.tensor_parallel, 1)
        return replace(
            resources,
            shard="always" if is_sharded else "never",
            tensor_parallel=tensor_parallel,
            ranks=max(resources.ranks, tensor_parallel),
            vllm_server=resources.vllm_server if stage.workload.samples_while_training else 0,
        )
    return resources.with_layout(place(stage, cards, resources).layout)
