"""One stage in a process of its own: lock the artifact, build it unless it is there, tell how far it is."""

import errno
import json
import logging
import os
import re
import shutil
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock

from repro.errors import InputError
from repro.generation.server import ServerError, ServerPlace
from repro.lifeline import end_with
from repro.machine import visible_gpus
from repro.pipeline.bodies import Workplace, body_of
from repro.pipeline.gpus import placed, visible_cards
from repro.pipeline.record import build_artifact, damage, is_complete
from repro.pipeline.resources import Resources
from repro.pipeline.stages import Calibrate, Distill, Stage
from repro.progress import Progress
from repro.recipes.placement import uses_gpu


def run_stage(stage: Stage, cache: Path, resources: Resources, driver: int | None, argv: list[str]) -> dict[str, Any]:
    """Build the stage's artifact if it is not there.

    Returns:
        {"built": bool} or, for a person's mistake, {"input_error": message}, or, for what else a person can mend,
        {"stage_error": advice}: exceptions of other kinds are raised.
    """
    resources = placed(stage, resources, visible_cards(resources.gpus))
    seen = visible_gpus()[: resources.gpu_count] if uses_gpu(stage) else ()
    resources = replace(resources, gpus=resources.gpus or seen)
    os.environ.update(_environment(resources))
    if driver is not None:
        if not uses_gpu(stage):
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        end_with(driver)
    try:
        return _run_locked(stage, cache, resources, argv)
    except Exception as error:
        known = told_of(error, stage, cache, resources)
        if known is None:
            raise
        return known


def told_of(error: Exception, stage: Stage, cache: Path, resources: Resources) -> dict[str, Any] | None:
    """What a person is told of a stage's error that they can mend: `input_error` or `stage_error`; None for any other."""
    if isinstance(error, InputError):
        return {"input_error": str(error)}
    if isinstance(error, RankError):
        return {"stage_error": str(error)}
    if isinstance(error, ServerError):
        mend = "; try more GPUs for it (--vllm-server)" if any(words in str(error) for words in _OUT_OF_MEMORY) else ""
        return {"stage_error": f"{error}{mend}"}
    if "probability tensor contains" in str(error):  # torch, where it is to draw a token
        trained = isinstance(stage, Calibrate | Distill)
        mend = "training diverged. Lower the learning rate" if trained else "its weights are damaged or diverged"
        return {"stage_error": f"the model's probabilities are not finite: {mend}"}
    advice = memory_trouble(error, stage, resources)
    if advice is not None:
        traceback.print_exc()  # for the log
        return {"stage_error": advice}
    trouble = disk_trouble(error)
    if trouble is None:
        return None
    return {
        "input_error": f"{stage.label}: {trouble}. Free space or mend the folder {cache}; the same command resumes."
    }


def disk_trouble(error: Exception) -> str | None:
    """What a full, read-only or forbidden disk says, whichever library met it; None for any other error."""
    known = {number: os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)}
    if isinstance(error, OSError) and error.errno in known:
        return known[error.errno]
    return next((words for words in known.values() if words in str(error)), None)


def cause_of(error: BaseException) -> str:
    """The one line that says why a stage failed.

    submitit hands its traceback on as text, ruled off by dashes, with hints on its own logs behind it.
    """
    text = str(error).strip()
    ruled = re.split(r"^-{5,}$", text, flags=re.MULTILINE)
    lines = [line.strip() for line in (ruled[-2] if len(ruled) > 2 else text).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("For further information")] or lines  # pydantic's last line
    lines = [re.sub(r"tagged-union\[.*\]", "a stage", line) for line in lines]  # pydantic names every kind there is
    named = [n for n, line in enumerate(lines) if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    if not named:
        return (lines[-1] if lines else type(error).__name__).rstrip(".")
    words = " ".join(lines[named[-1] :]).rstrip(".:")  # a message may have several lines
    return words if len(words) <= 400 else f"{words[:150]} ... {words[-250:]}"


_OUT_OF_MEMORY = (
    "out of memory",
    "No available memory for the cache blocks",
    "is less than desired GPU memory utilization",
    "larger than the available KV cache memory",
    "can't allocate memory",
)
"""How torch and vLLM say it, besides their exceptions' names."""


class RankError(RuntimeError):
    """What one of a stage's processes told, for a person to mend."""


def memory_trouble(error: BaseException, stage: Stage, resources: Resources) -> str | None:
    """Advice where a stage ran out of memory, in torch, vLLM or this process; None for any other error."""
    seen: BaseException | None = error
    while seen is not None:
        known = isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError"
        if known or any(words in str(seen) for words in _OUT_OF_MEMORY):
            break
        seen = seen.__cause__ or seen.__context__
    if seen is None:
        return None
    from repro.recipes.gpu_memory import Layout, draws_while_training, gpu_memory

    part = stage.config.method.replace("-", "_") if isinstance(stage, Distill) else _SETTINGS_OF.get(stage.does, "")
    mends = [f"shorter completions (--set {part}.max_completion_tokens=...)"] if part else []
    if isinstance(stage, Calibrate | Distill):
        mends.insert(0, "fewer sequences at once (--micro-batch 1: the result stays the same)")
        if resources.shard != "always":
            mends.insert(1, "models in parts on several GPUs (--ranks 2 --shard always)")
        if draws_while_training(stage) and not resources.vllm_server:
            mends.insert(2, "sampling on a GPU of its own (--vllm-server 1)")
    mends.append("a smaller model, or a GPU with more memory that nothing else uses (nvidia-smi)")
    at_once = resources.micro_batch
    estimate = ""
    if at_once:
        sharded, spread = resources.shard == "always", resources.tensor_parallel or 1
        layout = Layout(resources.ranks, sharded, spread, at_once, resources.vllm_server)
        need = gpu_memory(stage, layout).total
        estimate = f"; estimated {need:.1f} GiB at {at_once} sequences at once"
    return f"out of memory{estimate}. Try: {'; '.join(mends)}"


_SETTINGS_OF = {"calibrate": "calibration", "sample": "teacher_sampling", "evaluate": "evaluation"}


def _run_locked(stage: Stage, cache: Path, resources: Resources, argv: list[str]) -> dict[str, Any]:
    with lock_of(cache, stage):
        if is_complete(cache / stage.folder_name):
            return {"built": False}
        work = cache / ".work" / stage.folder_name
        work.mkdir(parents=True, exist_ok=True)
        for needed in stage.inputs():
            _trust(cache / needed.folder_name)
        quiet_libraries(resources)
        place = workplace(cache, work, FileProgress(progress_file(cache, stage)), resources)
        body = body_of(stage, place)
        if resources.ranks > resources.tensor_parallel:  # one copy over all its GPUs is one process
            from repro.pipeline.ranks import launched

            body = launched(stage, place, resources)
        build_artifact(stage, cache, body, argv, layout=layout_of(stage, resources), gpus=resources.gpus)
        shutil.rmtree(work, ignore_errors=True)
        progress_file(cache, stage).unlink(missing_ok=True)
    return {"built": True}


def workplace(cache: Path, work: Path, progress: Progress, resources: Resources) -> Workplace:
    """Where a stage runs, with all that is decided of its resources.

    Raises:
        InputError: fewer GPUs than its ranks and its vLLM server want.
    """
    server = None
    if resources.vllm_server:
        own = tuple(resources.gpus[resources.ranks :])
        if resources.gpus and len(own) < resources.vllm_server:
            raise InputError(
                f"--vllm-server {resources.vllm_server} beside {resources.ranks} rank(s): the stage has"
                f" {len(resources.gpus)} GPU(s). Ask for more, or leave --vllm-server out."
            )
        server = ServerPlace(resources.vllm_server, own)
    return Workplace(
        cache=cache,
        work=work,
        progress=progress,
        micro_batch=resources.micro_batch,
        checkpoint_every=resources.checkpoint_every,
        shard=resources.shard == "always",
        tensor_parallel=resources.tensor_parallel or 1,
        server=server,
    )


def layout_of(stage: Stage, resources: Resources) -> dict[str, Any]:
    """What the record tells of how the stage lay on its GPUs."""
    return {
        "ranks": resources.ranks,
        "sharded": resources.shard == "always",
        "tensor_parallel": resources.tensor_parallel or 1,
        "vllm_server": resources.vllm_server,
    } | ({"micro_batch": resources.micro_batch} if isinstance(stage, Calibrate | Distill) else {})


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


def quiet_libraries(resources: Resources) -> None:
    import torch
    import transformers

    torch.set_num_threads(resources.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
