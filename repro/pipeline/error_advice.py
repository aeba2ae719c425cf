"""What a person is told of a stage's error: the cause in one line, and what to change."""

import errno
import os
import re
import traceback
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.generation.server import ServerError
from repro.planner.gpu_memory import Layout, gpu_memory, samples_while_training
from repro.planner.resources import Resources
from repro.stages import Calibrate, Distill, Stage

_OUT_OF_MEMORY = (
    "out of memory",
    "No available memory for the cache blocks",
    "is less than desired GPU memory utilization",
    "larger than the available KV cache memory",
    "can't allocate memory",
)
"""How torch and vLLM say it, besides their exceptions' names."""
_SETTINGS_OF = {"calibrate": "calibration", "sample": "teacher_sampling", "evaluate": "evaluation"}


class WorkerError(RuntimeError):
    """What one of a stage's processes told, for a person to mend."""


def user_message(error: Exception, stage: Stage, cache: Path, resources: Resources) -> dict[str, Any] | None:
    """What a person is told of a stage's error that they can mend: `input_error` or `stage_error`; None for any other."""
    if isinstance(error, InputError):
        return {"input_error": str(error)}
    if isinstance(error, WorkerError):
        return {"stage_error": str(error)}
    if isinstance(error, ServerError):
        mend = "; try more GPUs for it (--vllm-server)" if any(words in str(error) for words in _OUT_OF_MEMORY) else ""
        return {"stage_error": f"{error}{mend}"}
    if "probability tensor contains" in str(error):  # torch, where it is to draw a token
        trained = isinstance(stage, Calibrate | Distill)
        mend = "training diverged. Lower the learning rate" if trained else "its weights are damaged or diverged"
        return {"stage_error": f"the model's probabilities are not finite: {mend}"}
    advice = memory_advice(error, stage, resources)
    if advice is not None:
        traceback.print_exc()  # for the log
        return {"stage_error": advice}
    trouble = disk_error(error)
    if trouble is None:
        return None
    return {
        "input_error": f"{stage.label}: {trouble}. Free space or mend the folder {cache}; the same command resumes."
    }


def disk_error(error: Exception) -> str | None:
    """What a full, read-only or forbidden disk says, whichever library met it; None for any other error."""
    known = {number: os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)}
    if isinstance(error, OSError) and error.errno in known:
        return known[error.errno]
    return next((words for words in known.values() if words in str(error)), None)


def root_cause(error: BaseException) -> str:
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


def memory_advice(error: BaseException, stage: Stage, resources: Resources) -> str | None:
    """Advice where a stage ran out of memory, in torch, vLLM or this process; None for any other error."""
    seen: BaseException | None = error
    while seen is not None:
        known = isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError"
        if known or any(words in str(seen) for words in _OUT_OF_MEMORY):
            break
        seen = seen.__cause__ or seen.__context__
    if seen is None:
        return None
    part = stage.config.method.replace("-", "_") if isinstance(stage, Distill) else _SETTINGS_OF.get(stage.does, "")
    mends = [f"shorter completions (--set {part}.max_completion_tokens=...)"] if part else []
    if isinstance(stage, Calibrate | Distill):
        mends.insert(0, "fewer sequences at once (--micro-batch 1: the result stays the same)")
        if resources.shard != "always":
            mends.insert(1, "models in parts on several GPUs (--ranks 2 --shard always)")
        if samples_while_training(stage) and not resources.vllm_server:
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
