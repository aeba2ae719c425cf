"""Advice on stage errors: the cause in one line, and what the user can change."""

import errno
import os
import re
import traceback
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.generation.server import ServerError
from repro.generation.vllm_process import EngineError
from repro.planner.gpu_memory import gpu_memory
from repro.planner.resources import Resources
from repro.stages import Stage

_OUT_OF_MEMORY = (
    "out of memory",
    "No available memory for the cache blocks",
    "is less than desired GPU memory utilization",
    "larger than the available KV cache memory",
    "can't allocate memory",
)
"""Messages of torch and vLLM, in addition to their exception names."""
_SETTINGS_OF = {
    "calibrate": "calibration",
    "sample": "teacher_sampling",
    "sft": "sft",
    "gkd-fkl": "gkd_fkl",
    "gkd-rkl": "gkd_rkl",
    "evaluate": "evaluation",
}


class WorkerError(RuntimeError):
    """An error in a stage's processes that the user can fix."""


def user_message(error: Exception, stage: Stage, cache: Path, resources: Resources) -> dict[str, Any] | None:
    """Turn an exception into a message that the user can act on (`input_error` or `stage_error`), or None."""
    if isinstance(error, InputError):
        return {"input_error": str(error)}
    if isinstance(error, WorkerError):
        return {"stage_error": str(error)}
    if isinstance(error, ServerError):
        advice = "; try more GPUs for it (--vllm-server)" if any(text in str(error) for text in _OUT_OF_MEMORY) else ""
        return {"stage_error": f"{error}{advice}"}
    if "probability tensor contains" in str(error):  # torch, when sampling a token
        is_trained = stage.workload.trains
        cause = "training diverged. Lower the learning rate" if is_trained else "its weights are damaged or diverged"
        return {"stage_error": f"the model's probabilities are not finite: {cause}"}
    out_of_memory = memory_advice(error, stage, resources)
    if out_of_memory is not None:
        traceback.print_exc()  # for the log
        return {"stage_error": out_of_memory}
    full_disk = disk_error(error)
    if full_disk is None:
        return {"stage_error": root_cause(error)} if isinstance(error, EngineError) else None
    return {
        "input_error": f"{stage.label}: {full_disk}. Free space or fix the folder {cache}; the same command resumes."
    }


def disk_error(error: Exception) -> str | None:
    """Return the message for a full, read-only or forbidden disk, from any library; None for any other error."""
    known = {number: os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)}
    if isinstance(error, OSError) and error.errno in known:
        return known[error.errno]
    return next((message for message in known.values() if message in str(error)), None)


def root_cause(error: BaseException) -> str:
    """Return the one line that says why a stage failed.

    submitit passes its traceback on as text between lines of dashes, followed by hints on its own logs.
    """
    text = str(error).strip()
    sections = re.split(r"^-{5,}$", text, flags=re.MULTILINE)
    lines = [line.strip() for line in (sections[-2] if len(sections) > 2 else text).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("For further information")] or lines  # pydantic's last line
    lines = [re.sub(r"tagged-union\[.*\]", "a stage", line) for line in lines]  # pydantic lists all kinds of stages
    error_lines = [n for n, line in enumerate(lines) if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    if not error_lines:
        return (lines[-1] if lines else type(error).__name__).rstrip(".")
    message = " ".join(lines[error_lines[-1] :]).rstrip(".:")  # a message may have several lines
    return message if len(message) <= 400 else f"{message[:150]} ... {message[-250:]}"


def memory_advice(error: BaseException, stage: Stage, resources: Resources) -> str | None:
    """Return advice if a stage ran out of memory, in torch, vLLM or this process; None for any other error."""
    if not _is_out_of_memory(error):
        return None
    section = _SETTINGS_OF.get(stage.procedure, "")
    advice = [f"shorter completions (--set {section}.max_completion_tokens=...)"] if section else []
    if stage.workload.trains:
        advice.insert(0, "fewer sequences per forward pass (--micro-batch 1; the result stays the same)")
        if resources.shard != "always":
            advice.insert(1, "models sharded over several GPUs (--ranks 2 --shard always)")
        if stage.workload.samples_while_training and not resources.vllm_server:
            advice.insert(2, "sampling on a separate GPU (--vllm-server 1)")
    advice.append("a smaller model, or a GPU with more memory that nothing else uses (nvidia-smi)")
    estimate = ""
    if resources.micro_batch:
        gib = gpu_memory(stage, resources.layout).total
        estimate = f"; estimated {gib:.1f} GiB at {resources.micro_batch} sequences per forward pass"
    return f"out of memory{estimate}. Try: {'; '.join(advice)}"


def _is_out_of_memory(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError":
            return True
        if any(text in str(seen) for text in _OUT_OF_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
