"""One stage in a process of its own: lock the artifact, build it unless it is there, tell how far it is."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock

from repro.errors import InputError
from repro.pipeline.context import configure_libraries, make_context
from repro.pipeline.distributed import distributed_function
from repro.pipeline.error_advice import user_message
from repro.pipeline.gpu_pool import resolve_layout, visible_cards
from repro.pipeline.progress_file import FileProgress, progress_path
from repro.pipeline.record import build_artifact, find_damage
from repro.pipeline.stage_functions import function_for
from repro.planner.placement import uses_gpu
from repro.planner.resources import Resources
from repro.stages import Calibrate, Distill, Stage
from repro.stages.artifact import is_complete
from repro.system.child_processes import exit_with_parent
from repro.system.hardware import visible_gpus


def run_stage(stage: Stage, cache: Path, resources: Resources, driver: int | None, argv: list[str]) -> dict[str, Any]:
    """Build the stage's artifact if it is not there.

    Returns:
        {"built": bool} or, for a person's mistake, {"input_error": message}, or, for what else a person can mend,
        {"stage_error": advice}: exceptions of other kinds are raised.
    """
    resources = resolve_layout(stage, resources, visible_cards(resources.gpus))
    seen = visible_gpus()[: resources.gpu_count] if uses_gpu(stage) else ()
    resources = replace(resources, gpus=resources.gpus or seen)
    os.environ.update(_environment(resources))
    if driver is not None:
        if not uses_gpu(stage):
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        exit_with_parent(driver)
    try:
        return _run_locked(stage, cache, resources, argv)
    except Exception as error:
        known = user_message(error, stage, cache, resources)
        if known is None:
            raise
        return known


def _run_locked(stage: Stage, cache: Path, resources: Resources, argv: list[str]) -> dict[str, Any]:
    with artifact_lock(cache, stage):
        if is_complete(cache / stage.folder_name):
            return {"built": False}
        work = cache / ".work" / stage.folder_name
        work.mkdir(parents=True, exist_ok=True)
        for needed in stage.inputs():
            _trust(cache / needed.folder_name)
        configure_libraries(resources)
        place = make_context(cache, work, FileProgress(progress_path(cache, stage)), resources)
        body = function_for(stage, place)
        if resources.ranks > resources.tensor_parallel:  # one copy over all its GPUs is one process
            body = distributed_function(stage, place, resources)
        build_artifact(stage, cache, body, argv, layout=recorded_layout(stage, resources), gpus=resources.gpus)
        shutil.rmtree(work, ignore_errors=True)
        progress_path(cache, stage).unlink(missing_ok=True)
    return {"built": True}


def recorded_layout(stage: Stage, resources: Resources) -> dict[str, Any]:
    """What the record tells of how the stage lay on its GPUs."""
    return {
        "ranks": resources.ranks,
        "sharded": resources.shard == "always",
        "tensor_parallel": resources.tensor_parallel or 1,
        "vllm_server": resources.vllm_server,
    } | ({"micro_batch": resources.micro_batch} if isinstance(stage, Calibrate | Distill) else {})


def artifact_lock(cache: Path, stage: Stage, timeout: float = -1) -> filelock.BaseFileLock:
    """One writer per artifact: an advisory lock of the file system, which ends with the process that holds it."""
    locks = cache / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(locks / f"{stage.folder_name}.lock", timeout=timeout)


def _trust(folder: Path) -> None:
    """An input artifact is used only if every byte is as its record says."""
    if not is_complete(folder):
        raise RuntimeError(f"{folder.name}: the stage before this one left no record")
    harm = find_damage(folder)
    if harm:
        raise InputError(f"artifact {folder}: {harm}. Run again: it is set aside and made anew.")


def _environment(resources: Resources) -> dict[str, str]:
    """Its own GPUs (a trainer that sees more would split its batches over them), thread counts, and no telemetry."""
    threads = str(resources.threads)
    gpus = resources.gpus[: resources.ranks]  # a server has the others
    return ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}) | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
    }
