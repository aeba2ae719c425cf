"""vLLM in the trainer's process: watch the memory in use while it sleeps, and shut it down when training has ended.

vLLM allows only one engine with sleep mode per process lifetime, and TRL never shuts its engine down. What a shutdown
leaves allocated (11 of 79 GiB on an H100) is freed when the process ends.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from repro.errors import InputError
from repro.system.gpu_memory import free_gpu_memory

GIB = 2**30
GROWTH_GIB = 1.0
"""ASSUMED: growth of the memory in use after sampling that raises an alarm: it would fill a GPU in some dozen steps."""
SETTLED = 3
"""Sampling rounds until the trainer's memory has settled: AdamW's moments are allocated in the first step."""
_has_started = False
"""True once this process has started an engine with sleep mode."""
logger = logging.getLogger(__name__)


def refuse_second_engine() -> None:
    """Raise InputError if this process has already started an engine with sleep mode.

    vLLM's allocator asserts that it is empty when such an engine starts, but a shutdown does not empty it (11 GiB on an
    H100).
    """
    if _has_started:
        raise InputError(
            "vLLM with sleep mode: this process has already trained with such an engine, and vLLM allows one per process."
            " Run each training in a separate process, as `repro run` does, or"
            " sample with --vllm-server 1 or --engine transformers."
        )


def note_engine_start() -> None:
    """Record that this process starts an engine with sleep mode."""
    global _has_started
    refuse_second_engine()
    _has_started = True


class SleepWatch:
    """Records the GPU memory still in use each time vLLM has gone to sleep.

    Args:
        bytes_in_use: returns the bytes currently in use on this GPU.
    """

    def __init__(self, bytes_in_use: Callable[[], int]) -> None:
        self._bytes_in_use = bytes_in_use
        self.gib: list[float] = []

    def note(self) -> None:
        """Record the memory in use now, after sampling."""
        has_grown = self.alarm() is not None
        self.gib.append(self._bytes_in_use() / GIB)
        if not has_grown and (alarm := self.alarm()):
            logger.warning(alarm)
        logger.info("GPU memory still in use after sampling %d: %.2f GiB", len(self.gib), self.gib[-1])

    def figures(self) -> dict[str, Any]:
        """Return the entries of summary.json: GiB once training has settled and at the end, and an alarm on growth."""
        if len(self.gib) <= SETTLED:
            return {}
        figures = {"asleep_gib": {"settled": round(self.gib[SETTLED - 1], 2), "last": round(self.gib[-1], 2)}}
        alarm = self.alarm()
        return figures | ({"alarm": alarm} if alarm else {})

    def alarm(self) -> str | None:
        """Return a message if memory use has grown since training settled, else None."""
        if len(self.gib) <= SETTLED or self.gib[-1] - self.gib[SETTLED - 1] <= GROWTH_GIB:
            return None
        return (
            f"GPU memory in use while vLLM sleeps grew from {self.gib[SETTLED - 1]:.1f} to {self.gib[-1]:.1f} GiB over"
            f" {len(self.gib)} samplings: it will run out in a longer training; use --vllm-server 1"
        )


@contextmanager
def watched_engine(trainer: Any) -> Iterator[SleepWatch]:
    """Watch the engine of a TRL trainer and shut it down at the end; no effect without an engine in this process."""
    generation: Any = getattr(trainer, "vllm_generation", None)
    watch = SleepWatch(_gpu_bytes_in_use)
    if not hasattr(generation, "llm"):
        yield watch
        return
    if generation.enable_sleep_mode:
        _watch(generation, watch)
    try:
        yield watch
    finally:
        with _keep_default_group():
            generation.llm.llm_engine.engine_core.shutdown()
        del generation.llm
        free_gpu_memory()


@contextmanager
def _keep_default_group() -> Iterator[None]:
    """Keep vLLM from destroying the default process group: it is the trainer's, which still has to save the model."""
    import torch.distributed

    destroy = torch.distributed.destroy_process_group

    def destroy_own(group: Any = None) -> None:
        if group is not None:
            destroy(group)

    torch.distributed.destroy_process_group = destroy_own
    try:
        yield
    finally:
        torch.distributed.destroy_process_group = destroy


def _watch(generation: Any, watch: SleepWatch) -> None:
    generate = generation.generate

    def generate_and_note(*args: Any, **kwargs: Any) -> Any:
        output = generate(*args, **kwargs)
        watch.note()
        return output

    generation.generate = generate_and_note


def _gpu_bytes_in_use() -> int:
    import torch

    free, total = torch.cuda.mem_get_info()
    return total - free
