"""One stage in its process: lock the artifact, build it unless it exists, report progress."""

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import psutil

from repro.errors import InputError
from repro.pipeline.context import configure_libraries, make_context
from repro.pipeline.distributed import distributed_function, separate_function
from repro.pipeline.error_advice import WorkerError, user_message
from repro.pipeline.gpu_pool import resolve_layout, visible_cards
from repro.pipeline.progress_file import FileProgress, progress_path
from repro.pipeline.record import build_artifact, find_damage, recorded_files
from repro.pipeline.stage_functions import function_for
from repro.planner.resources import Resources
from repro.stages import Stage
from repro.stages.artifact import is_complete
from repro.system.atomic_write import write_json
from repro.system.child_processes import exit_with_parent
from repro.system.gpu_checks import unusable_gpu
from repro.system.gpu_memory import free_gpu_memory
from repro.system.gpus import visible_gpus
from repro.system.hardware import hardware


def run_stage(
    stage: Stage, cache: Path, resources: Resources, *, driver: int | None = None, argv: Sequence[str] = ()
) -> dict[str, Any]:
    """Build the stage's artifact if it does not exist.

    Args:
        driver: process id of the driver; this process exits when it does. None to run in the driver itself.
        argv: the command line that the user typed.

    Returns:
        {"built": bool}; or {"input_error": message} for a user error; or {"stage_error": advice} for another error that
        the user can fix. All other errors are raised.
    """
    uses_gpu = stage.workload.uses_gpu
    resources = resolve_layout(stage, resources, visible_cards(resources.gpus) if uses_gpu else None)
    visible = visible_gpus()[: resources.gpu_count] if uses_gpu else ()
    resources = replace(resources, gpus=resources.gpus or visible)
    os.environ.update(stage_variables(resources))
    is_alone = driver is not None or "SUBMITIT_EXECUTOR" in os.environ  # in a process of the stage's own
    if not uses_gpu and is_alone:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if driver is not None:
        exit_with_parent(driver)
    waited = time.time() - psutil.Process().create_time() if is_alone else None
    try:
        return _run_locked(stage, cache, resources, argv, is_alone=is_alone, process_seconds=waited)
    except Exception as error:
        message = user_message(error, stage, cache, resources)
        if message is None:
            raise
        return message
    finally:
        if driver is None and visible:
            free_gpu_memory()  # for the next stage, which runs in this process as well


def _run_locked(
    stage: Stage,
    cache: Path,
    resources: Resources,
    argv: Sequence[str],
    *,
    is_alone: bool,
    process_seconds: float | None,
) -> dict[str, Any]:
    with artifact_lock(cache, stage):
        for half_built in (cache / ".building").glob(f"{stage.folder_name}.*"):  # by a killed process: the lock is ours
            shutil.rmtree(half_built, ignore_errors=True)
        if is_complete(cache / stage.folder_name):
            return {"built": False}
        for needed in stage.inputs():
            verify_input(cache / needed.folder_name)
        work = open_work(stage, cache)
        configure_libraries(resources)
        check_gpu(stage, resources)
        context = make_context(cache, work, FileProgress(progress_path(cache, stage)), resources)
        if resources.ranks > resources.tensor_parallel:  # one copy over all GPUs is one process
            function = distributed_function(stage, context)
        elif not is_alone and sleeps_beside_training(stage, resources):
            function = separate_function(stage, context)
        else:
            function = function_for(stage, context)
        layout = recorded_layout(stage, resources)
        build_artifact(
            stage, cache, function, argv=argv, layout=layout, gpus=resources.gpus, process_seconds=process_seconds
        )
        shutil.rmtree(work, ignore_errors=True)
        progress_path(cache, stage).unlink(missing_ok=True)
    return {"built": True}


def check_gpu(stage: Stage, resources: Resources) -> None:
    """Raise WorkerError if a stage with a GPU, or in a Slurm job, would silently compute on the CPU, for weeks."""
    import torch

    has_gpu = bool(resources.gpus) or os.environ.get("SUBMITIT_EXECUTOR") == "slurm"
    if not (stage.workload.uses_gpu and has_gpu and torch.version.cuda) or torch.cuda.is_available():
        return
    print(f"no usable GPU on {platform.node()}", file=sys.stderr, flush=True)
    problem = unusable_gpu(hardware()) or "nvidia-smi lists GPUs, and CUDA does not start on them"
    raise WorkerError(f"its GPU cannot be used: {problem}")


def sleeps_beside_training(stage: Stage, resources: Resources) -> bool:
    """Return True if vLLM will sleep in the trainer's process: it can only once per process, and leaves memory in
    use."""
    return stage.workload.samples_while_training and bool(resources.gpus) and not resources.vllm_server


def recorded_layout(stage: Stage, resources: Resources) -> dict[str, Any]:
    """Return the layout on GPUs as record.json stores it."""
    return {
        "ranks": resources.ranks,
        "sharded": resources.shard == "always",
        "tensor_parallel": resources.tensor_parallel or 1,
        "vllm_server": resources.vllm_server,
    } | ({"micro_batch": resources.micro_batch} if stage.workload.trains else {})


def artifact_lock(cache: Path, stage: Stage, timeout: float = -1) -> filelock.BaseFileLock:
    """Return the lock that admits one writer per artifact; it is released when its process exits."""
    locks = cache / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(locks / f"{stage.folder_name}.lock", timeout=timeout)


def verify_input(folder: Path) -> None:
    """Raise unless an input artifact matches its record (`find_damage`)."""
    if not is_complete(folder):
        raise RuntimeError(f"{folder.name}: the input stage left no record")
    damage = find_damage(folder)
    if damage:
        raise InputError(f"artifact {folder}: {damage}. Run again: it will be moved aside and rebuilt.")


def open_work(stage: Stage, cache: Path) -> Path:
    """Return the folder of the stage's unfinished work, emptied if an input has been rebuilt since it was begun."""
    folder = cache / ".work" / stage.folder_name
    inputs = {needed.folder_name: recorded_files(cache / needed.folder_name) for needed in stage.inputs()}
    begun_with = folder / "inputs.json"
    if _read_json(begun_with) != inputs:
        if folder.exists():
            shutil.rmtree(folder)  # an error must end the stage: what stayed would be taken for work on these inputs
        folder.mkdir(parents=True)
        write_json(begun_with, inputs)
    return folder


def _read_json(file: Path) -> Any:
    """Return a file's content; None if the file is missing or damaged."""
    try:
        return json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def stage_variables(resources: Resources) -> dict[str, str]:
    """Return the stage's environment: its GPUs (a trainer seeing more would split batches), threads, no telemetry."""
    threads = str(resources.threads)
    gpus = resources.gpus[: resources.ranks]  # the others belong to a server
    return ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}) | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",  # for top-p and top-k, which no stage uses
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
    }
