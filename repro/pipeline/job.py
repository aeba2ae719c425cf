"""One stage in a process of its own: lock the artifact, build it unless it is there, tell how far it is."""

import errno
import json
import logging
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import psutil

from repro.errors import InputError
from repro.pipeline.bodies import Workplace, body_of
from repro.pipeline.record import build_artifact, damage, is_complete
from repro.pipeline.stages import Stage


@dataclass(frozen=True)
class Resources:
    """What a stage may use. Not identity: the same stage gives the same result with other resources.

    Attributes:
        micro_batch: sequences per forward pass in training; None for a whole step at once.
        checkpoint_every: optimiser steps between checkpoints; 0 for none.
        threads: CPU threads of one stage.
        ranks: processes of one stage on one machine, one per GPU. Generation and off-policy training give the numbers
            of one; on-policy training draws other completions (each its share, by its own random stream) under the same
            law, which is why the record tells the ranks.
    """

    micro_batch: int | None = None
    checkpoint_every: int = 25
    threads: int = 1
    ranks: int = 1


def run_stage(stage: Stage, cache: Path, resources: Resources, driver: int | None, argv: list[str]) -> dict[str, Any]:
    """Build the stage's artifact if it is not there.

    Returns:
        {"built": bool} or, for a person's mistake, {"input_error": message}: exceptions of other kinds are raised.
    """
    os.environ.update(_environment(resources))
    if driver is not None:
        end_with(driver)
    try:
        return _run_locked(stage, cache, resources, argv)
    except InputError as error:
        return {"input_error": str(error)}
    except Exception as error:
        trouble = disk_trouble(error)
        if trouble is None:
            raise
        return {
            "input_error": f"{stage.label}: {trouble}. Free space or mend the folder {cache}; the same command resumes."
        }


def disk_trouble(error: Exception) -> str | None:
    """What a full, read-only or forbidden disk says, whichever library met it; None for any other error."""
    known = {number: os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)}
    if isinstance(error, OSError) and error.errno in known:
        return known[error.errno]
    return next((words for words in known.values() if words in str(error)), None)


def _run_locked(stage: Stage, cache: Path, resources: Resources, argv: list[str]) -> dict[str, Any]:
    with lock_of(cache, stage):
        if is_complete(cache / stage.folder_name):
            return {"built": False}
        work = cache / ".work" / stage.folder_name
        work.mkdir(parents=True, exist_ok=True)
        for needed in stage.inputs():
            _trust(cache / needed.folder_name)
        quiet_libraries(resources)
        place = Workplace(
            cache=cache,
            work=work,
            progress=FileProgress(progress_file(cache, stage)),
            micro_batch=resources.micro_batch,
            checkpoint_every=resources.checkpoint_every,
        )
        body = body_of(stage, place)
        if resources.ranks > 1:
            from repro.pipeline.ranks import launched

            body = launched(stage, place, resources)
        build_artifact(stage, cache, body, argv, ranks=resources.ranks)
        shutil.rmtree(work, ignore_errors=True)
        progress_file(cache, stage).unlink(missing_ok=True)
    return {"built": True}


def lock_of(cache: Path, stage: Stage, timeout: float = -1) -> filelock.BaseFileLock:
    """One writer per artifact: an advisory lock of the file system, which ends with the process that holds it."""
    locks = cache / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(locks / f"{stage.folder_name}.lock", timeout=timeout)


def progress_file(cache: Path, stage: Stage) -> Path:
    """Where a running stage tells how far it is."""
    return cache / ".work" / f"{stage.folder_name}.progress.json"


class FileProgress:
    """Progress through a small file, so that it also works from another machine. At most four writes a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0.0

    def __call__(self, done: int, total: int, unit: str, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last < 0.25 and done < total:
            return
        self._last = now
        aside = self._path.with_suffix(".part")
        aside.write_text(json.dumps({"done": done, "total": total, "unit": unit, "note": note}))
        aside.replace(self._path)


def read_progress(path: Path) -> dict[str, Any] | None:
    """The last thing a running stage told; None before the first."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _trust(folder: Path) -> None:
    """An input artifact is used only if every byte is as its record says."""
    if not is_complete(folder):
        raise RuntimeError(f"{folder.name}: the stage before this one left no record")
    harm = damage(folder)
    if harm:
        raise InputError(f"artifact {folder}: {harm}. Run again: it is set aside and made anew.")


def _environment(resources: Resources) -> dict[str, str]:
    """Thread counts, and no telemetry."""
    threads = str(resources.threads)
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
    }


def quiet_libraries(resources: Resources) -> None:
    import torch
    import transformers

    torch.set_num_threads(resources.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)


def end_with(driver: int) -> None:
    """End this process when the process that asked for it is gone, so that a killed run leaves nothing running."""
    try:
        watched = psutil.Process(driver)
    except psutil.NoSuchProcess:
        os._exit(143)

    def watch() -> None:
        while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
        os._exit(143)

    threading.Thread(target=watch, daemon=True).start()
