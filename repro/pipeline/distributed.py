"""A stage on several processes of one machine, one per GPU. Its own process keeps the lock, waits, and writes the record.

Training: torchrun starts them (gloo on CPUs, NCCL on GPUs), each runs the stage's body, the first writes the model.
Generation: each draws every n-th chunk of prompts. Chunks have their own seeds, so the completions are those of one process.
A model that one GPU does not hold is spread over several by vLLM: then each process has that many GPUs, and fewer draw.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.pipeline.context import StageContext, configure_libraries, make_context
from repro.pipeline.error_advice import WorkerError, user_message
from repro.pipeline.progress_file import FileProgress, progress_path
from repro.pipeline.stage_functions import function_for, read_items, sample_completions
from repro.planner.resources import Resources
from repro.progress import silent
from repro.stages import Calibrate, Distill, Evaluate, Sample, Stage, stage_adapter
from repro.system.child_processes import exit_with_parent


def distributed_function(stage: Stage, place: StageContext, resources: Resources) -> Callable[[Path], dict[str, Any]]:
    """The stage's body on `resources.ranks` processes; as it is for a stage that is neither training nor generation."""
    whole = function_for(stage, place)

    def trained(out: Path) -> dict[str, Any]:
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={resources.ranks}"]
        with _order(stage, place, resources, out) as (order, answers):
            ended = subprocess.run([*words, "-m", "repro.pipeline.distributed", str(order)], check=False)
            told = _told(answers, [ended.returncode])
        return dict(told[0]["summary"])

    def drawn(out: Path) -> dict[str, Any]:
        with _order(stage, place, resources, out) as (order, answers):
            words = [sys.executable, "-m", "repro.pipeline.distributed", str(order)]
            spread = resources.tensor_parallel
            copies = len(answers)
            started = [subprocess.Popen(words, env=_environment(n, copies, spread)) for n in range(copies)]
            _told(answers, _waited(started))
        return whole(out)  # finds every chunk drawn

    if isinstance(stage, Calibrate | Distill):
        return trained
    return drawn if isinstance(stage, Sample | Evaluate) else whole


@contextlib.contextmanager
def _order(stage: Stage, place: StageContext, resources: Resources, out: Path) -> Iterator[tuple[Path, list[Path]]]:
    """What the processes are told, in a file; and where each answers."""
    order = place.work / "ranks.json"
    processes = resources.ranks // (resources.tensor_parallel or 1)
    answers = [place.work / f"answer-{rank}.json" for rank in range(processes)]
    content = {
        "stage": stage.model_dump(mode="json"),
        "cache": str(place.cache),
        "out": str(out),
        "resources": asdict(resources),
        "parent": os.getpid(),
    }
    for answer in answers:
        answer.unlink(missing_ok=True)
    order.write_text(json.dumps(content))
    yield order, answers


def _waited(started: list[subprocess.Popen[bytes]]) -> list[int]:
    """Exit codes; where one fails the others are ended, not waited for."""
    while any(process.poll() is None for process in started):
        if any(process.returncode for process in started):
            for process in started:
                process.terminate()
            break
        time.sleep(0.5)
    return [process.wait() for process in started]


def _told(answers: list[Path], exits: list[int]) -> list[dict[str, Any]]:
    told = [json.loads(answer.read_text()) for answer in answers if answer.exists()]
    for one in told:
        if "input_error" in one:
            raise InputError(one["input_error"])
        if "stage_error" in one:
            raise WorkerError(one["stage_error"])
    if any(exits) or len(told) < len(answers):
        raise RuntimeError(f"one of {len(answers)} processes ended with an error (exit {max(exits, key=abs)})")
    return told


def _environment(rank: int, ranks: int, spread: int) -> dict[str, str]:
    """Of one generating process: its number, and its own GPUs where the machine tells of any."""
    env = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
    visible = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    own = range(rank * spread, (rank + 1) * spread)
    return env | {"CUDA_VISIBLE_DEVICES": ",".join(visible[n % len(visible)] if visible else str(n) for n in own)}


def _rank(order: Path) -> None:
    """One of the processes."""
    content = json.loads(order.read_text())
    exit_with_parent(content["parent"])
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    stage, cache = stage_adapter.validate_python(content["stage"]), Path(content["cache"])
    resources = Resources(**content["resources"])
    configure_libraries(resources)
    progress = FileProgress(progress_path(cache, stage)) if rank == 0 else silent
    place = make_context(cache, order.parent, progress, resources)
    try:
        if isinstance(stage, Sample | Evaluate):
            for name in ("RANK", "WORLD_SIZE"):  # no process group: vLLM must not look for one
                del os.environ[name]
            told: dict[str, Any] = {
                "drawn": len(sample_completions(stage, read_items(stage.data), place, (rank, ranks)))
            }
        else:
            told = {"summary": function_for(stage, place)(Path(content["out"]))}
    except Exception as error:
        known = user_message(error, stage, cache, resources)
        if known is None:
            raise
        told = known
    aside = order.with_name(f"answer-{rank}.part")
    aside.write_text(json.dumps(told))
    aside.replace(order.with_name(f"answer-{rank}.json"))
    if "summary" not in told and "drawn" not in told:
        sys.exit(1)  # so that the other processes are not waited for


if __name__ == "__main__":
    _rank(Path(sys.argv[1]))
