"""A stage on several processes of one machine, one per GPU; its main process holds the lock and writes the record.

Training: torchrun starts the workers (gloo on CPUs, NCCL on GPUs), each runs the stage's function, and rank 0 writes
the model. Generation and diagnoses: each worker samples every n-th chunk of prompts, or measures every n-th part.
Chunks have their own seeds and parts their own sums, so the results match a single process. A model too large for one
GPU is sharded by vLLM (tensor parallel); each worker then takes several GPUs, and there are fewer workers.

If several stages would share a process, training with a sleeping vLLM gets one of its own (`separate_function`).
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.generation.server import RANK_VARIABLES
from repro.pipeline.context import StageContext, configure_libraries, make_context
from repro.pipeline.error_advice import WorkerError, root_cause, user_message
from repro.pipeline.progress_file import FileProgress, progress_path
from repro.pipeline.stage_functions import function_for, measure_diagnosis, sample_completions
from repro.pipeline.stage_inputs import read_items
from repro.pipeline.torchrun import SIGNALLED
from repro.planner.resources import Resources
from repro.progress import silent
from repro.stages import Diagnose, Evaluate, Sample, Stage, stage_adapter
from repro.system.atomic_write import atomic_write
from repro.system.child_processes import WAS_KILLED, exit_with_parent

TORCHRUN = ("-m", "repro.pipeline.torchrun", "--standalone", "--local-addr=127.0.0.1")
"""All ranks are on this machine. By default they connect to rank 0 through the machine's full host name, which may not
resolve (`docker run --network none`) or may be blocked by a firewall."""


def distributed_function(stage: Stage, context: StageContext) -> Callable[[Path], dict[str, Any]]:
    """Split the stage's function over `context.resources.ranks` GPUs; return it unchanged if it cannot be split."""
    resources = context.resources
    local_function = function_for(stage, context)

    def train(out: Path) -> dict[str, Any]:
        job_file, answer_files = _write_job_file(stage, context, out)
        command = [sys.executable, *TORCHRUN, f"--nproc_per_node={resources.ranks}"]
        command += ["-m", "repro.pipeline.distributed", str(job_file)]
        exit_code = subprocess.run(command, check=False).returncode
        if SIGNALLED < exit_code <= SIGNALLED + signal.NSIG:
            exit_code = SIGNALLED - exit_code
        return dict(_read_answers(answer_files, [exit_code])[0]["summary"])

    def share(out: Path) -> dict[str, Any]:
        job_file, answer_files = _write_job_file(stage, context, out)
        command = [sys.executable, "-m", "repro.pipeline.distributed", str(job_file)]
        count = len(answer_files)
        workers = [
            subprocess.Popen(command, env=_worker_environment(rank, count, resources.tensor_parallel))
            for rank in range(count)
        ]
        _read_answers(answer_files, _wait_all(workers))
        return local_function(out)  # finds all chunks or parts finished

    if stage.workload.trains:
        return train
    return share if stage.workload.can_split else local_function


def separate_function(stage: Stage, context: StageContext) -> Callable[[Path], dict[str, Any]]:
    """Run the stage's function in its own process, without other ranks: exiting frees all GPU memory."""

    def train(out: Path) -> dict[str, Any]:
        job_file, answer_files = _write_job_file(stage, context, out, workers=1)
        command = [sys.executable, "-m", "repro.pipeline.distributed", str(job_file)]
        environment = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
        finished = subprocess.run(command, env=environment, check=False)
        if finished.returncode == -signal.SIGKILL:
            raise WorkerError(f"its process {WAS_KILLED}")
        return dict(_read_answers(answer_files, [finished.returncode])[0]["summary"])

    return train


def _write_job_file(
    stage: Stage, context: StageContext, out: Path, workers: int | None = None
) -> tuple[Path, list[Path]]:
    """Write the workers' job description; return its path and the paths of the answer files they will write."""
    resources = context.resources
    workers = workers or resources.ranks // (resources.tensor_parallel or 1)
    answer_files = [context.work / f"answer-{rank}.json" for rank in range(workers)]
    for file in answer_files:
        file.unlink(missing_ok=True)
    job_file = context.work / "job.json"
    job = {
        "stage": stage.model_dump(mode="json"),
        "cache": str(context.cache),
        "out": str(out),
        "resources": asdict(resources),
        "parent": os.getpid(),
    }
    job_file.write_text(json.dumps(job))
    return job_file, answer_files


def _wait_all(workers: list[subprocess.Popen[bytes]]) -> list[int]:
    """Wait for all workers and return their exit codes; if one fails, the others are terminated."""
    while any(worker.poll() is None for worker in workers):
        if any(worker.returncode for worker in workers):
            for worker in workers:
                worker.terminate()
            break
        time.sleep(0.5)
    return [worker.wait() for worker in workers]


def _read_answers(files: list[Path], exit_codes: list[int]) -> list[dict[str, Any]]:
    answers = [json.loads(file.read_text()) for file in files if file.exists()]
    for answer in answers:
        if "input_error" in answer:
            raise InputError(answer["input_error"])
        if "stage_error" in answer:
            raise WorkerError(answer["stage_error"])
    if any(exit_codes) or len(answers) < len(files):
        raise _failure(len(files), exit_codes)
    return answers


def _failure(count: int, exit_codes: list[int]) -> RuntimeError:
    """Return the error for processes that left no answer; those ended by SIGTERM only followed another."""
    code = max(exit_codes, key=lambda number: (number not in (0, -signal.SIGTERM), abs(number)))
    if code == -signal.SIGKILL:
        return WorkerError(
            f"one of {count} processes {WAS_KILLED}. Use fewer processes (--ranks), or a machine or job with more memory"
        )
    names = {number.value: number.name for number in signal.Signals}
    end = f"was ended by {names.get(-code, f'signal {-code}')}" if code < 0 else f"ended with an error (exit {code})"
    return RuntimeError(f"one of {count} processes {end}")


def _worker_environment(rank: int, ranks: int, tensor_parallel: int) -> dict[str, str]:
    """Return the environment of one worker: its rank, and its GPUs if any are visible."""
    env = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
    visible = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if not visible:  # no GPU, or none for this stage
        return env
    numbers = range(rank * tensor_parallel, (rank + 1) * tensor_parallel)
    return env | {"CUDA_VISIBLE_DEVICES": ",".join(visible[n % len(visible)] for n in numbers)}


def _run_worker(job_file: Path) -> None:
    """Run one worker's part of the job and write its answer."""
    job = json.loads(job_file.read_text())
    exit_with_parent(job["parent"])
    is_alone = "RANK" not in os.environ
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    stage, cache = stage_adapter.validate_python(job["stage"]), Path(job["cache"])
    resources = Resources(**job["resources"])
    configure_libraries(resources)
    progress = FileProgress(progress_path(cache, stage)) if rank == 0 else silent
    context = make_context(cache, job_file.parent, progress, resources)
    try:
        if stage.workload.trains:
            answer: dict[str, Any] = {"summary": function_for(stage, context)(Path(job["out"]))}
        else:
            for name in ("RANK", "WORLD_SIZE"):  # no process group: vLLM must not look for one
                del os.environ[name]
            answer = {"parts": _take_share(stage, context, (rank, ranks))}
    except Exception as error:
        message = user_message(error, stage, cache, resources)
        if message is None and is_alone:  # this stage's only process: its error is the stage's
            traceback.print_exc()
            message = {"stage_error": root_cause(error)}
        if message is None:
            raise
        answer = message
    with atomic_write(job_file.with_name(f"answer-{rank}.json")) as temporary:
        temporary.write_text(json.dumps(answer))
    if "summary" not in answer and "parts" not in answer:
        sys.exit(1)  # so that nothing waits for the other workers


def _take_share(stage: Stage, context: StageContext, share: tuple[int, int]) -> int:
    """Sample or measure every n-th part of a stage; return how many parts are finished, or exist."""
    if isinstance(stage, Diagnose):
        return measure_diagnosis(stage, context, share)
    if isinstance(stage, Sample | Evaluate):
        return len(sample_completions(stage, read_items(stage.data), context, share=share))
    raise TypeError(f"a stage of kind {stage.kind} cannot be split")


if __name__ == "__main__":
    _run_worker(Path(sys.argv[1]))
