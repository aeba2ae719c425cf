"""The GPUs of this machine, lent to stages: to each as many as it needs, none to two at once."""

from collections.abc import Iterable
from dataclasses import replace

from repro.errors import InputError
from repro.planner.gpu_memory import samples_while_training
from repro.planner.placement import Cards, machine_cards, place, uses_gpu
from repro.planner.resources import Resources
from repro.stages import Stage
from repro.system.hardware import gpus, visible_gpus

GpuNames = tuple[str, ...]


class GpuPool:
    """What is lent and what is free.

    Args:
        resources: `ranks` is the least that a stage gets.
        apart: on Slurm, where jobs bring their own, none are lent.

    Raises:
        InputError: there are GPUs, and fewer than one stage is to have.
    """

    def __init__(self, resources: Resources, *, apart: bool) -> None:
        self._resources = resources
        self._free: list[str] = [] if apart else list(visible_gpus())
        self._lends = bool(self._free)
        self._total = len(self._free)
        self._cards = visible_cards() if self._lends else None
        if self._lends and resources.gpu_count > len(self._free):
            server = f" --vllm-server {resources.vllm_server}" if resources.vllm_server else ""
            raise InputError(
                f"--ranks {resources.ranks}{server}: this machine has {len(self._free)} GPUs; ask for that many at most."
            )

    def lend(self, ready: Iterable[Stage], most: int) -> list[tuple[Stage, GpuNames]]:
        """Stages to start now, `most` of them at most, each with its GPUs (none where the machine has none). One that must
        wait for GPUs is not overtaken: it would wait for ever.

        Raises:
            InputError: a stage wants more than there are.
        """
        started: list[tuple[Stage, GpuNames]] = []
        for stage in ready:
            need = self._need(stage)
            if need > self._total and self._lends:
                raise InputError(
                    f"{stage.label} wants {need} GPUs of {self._total}: lower --ranks, --tensor-parallel or --vllm-server."
                )
            if len(started) == most or need > len(self._free):
                break
            started.append((stage, tuple(self._free[:need])))
            del self._free[:need]
        return started

    def _need(self, stage: Stage) -> int:
        if not self._lends or not uses_gpu(stage):
            return 0
        return resolve_layout(stage, self._resources, self._cards).gpu_count

    def give_back(self, lent: GpuNames) -> None:
        """The stage has ended."""
        self._free += lent


def with_gpus(stage: Stage, resources: Resources, gpus: GpuNames) -> Resources:
    """The resources of a stage that got these GPUs; on none, what was asked for."""
    server = resources.vllm_server if samples_while_training(stage) else 0
    return replace(resources, gpus=gpus, ranks=len(gpus) - server if gpus else resources.ranks, vllm_server=server)


def visible_cards(lent: GpuNames = ()) -> Cards | None:
    """The GPUs that were lent, or all that CUDA programs started here see, with the memory of the machine's smallest; None
    where none answers."""
    own, every = lent or visible_gpus(), machine_cards({"gpus": gpus()})
    return Cards(len(own), every.gib) if own and every else None


def resolve_layout(stage: Stage, resources: Resources, cards: Cards | None) -> Resources:
    """The resources with everything that was left open decided, by the estimate, for this stage on these GPUs."""
    if cards is None or resources.micro_batch is None:  # no GPU to fit into, or models that fit any
        trains = stage.does in ("calibrate", "distill")
        parts = trains and resources.shard == "always" and resources.ranks > 1
        spread = 1 if trains else max(resources.tensor_parallel, 1)
        ranks = max(resources.ranks, spread)
        server = resources.vllm_server if samples_while_training(stage) else 0
        return replace(
            resources,
            shard="always" if parts else "never",
            tensor_parallel=spread,
            ranks=ranks,
            vllm_server=server,
        )
    layout = place(
        stage,
        cards,
        ranks=resources.ranks,
        micro_batch=resources.micro_batch,
        shard=resources.shard,
        tensor_parallel=resources.tensor_parallel,
        vllm_server=resources.vllm_server,
    ).layout
    return replace(
        resources,
        ranks=layout.ranks,
        shard="always" if layout.shard else "never",
        tensor_parallel=layout.tensor_parallel,
        micro_batch=layout.micro_batch,
        vllm_server=layout.vllm_server,
    )
