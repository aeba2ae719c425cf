"""A training stage on several processes: torchrun starts them, each runs the stage's body, the first writes.

The stage's own process keeps the lock, waits, and writes the record: a record says what all of them did together.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.pipeline.bodies import Workplace, body_of
from repro.pipeline.job import FileProgress, Resources, end_with, progress_file, quiet_libraries
from repro.pipeline.stages import Calibrate, Distill, stage_adapter
from repro.progress import silent


def launched(stage: Calibrate | Distill, place: Workplace, resources: Resources) -> Callable[[Path], dict[str, Any]]:
    """The stage's body on `resources.ranks` processes of this machine (gloo on CPUs, NCCL on GPUs)."""

    def body(out: Path) -> dict[str, Any]:
        order, answer = place.work / "ranks.json", place.work / "ranks-answer.json"
        answer.unlink(missing_ok=True)
        content = {
            "stage": stage.model_dump(mode="json"),
            "cache": str(place.cache),
            "out": str(out),
            "resources": asdict(resources),
            "parent": os.getpid(),
        }
        order.write_text(json.dumps(content))
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={resources.ranks}"]
        ended = subprocess.run([*words, "-m", "repro.pipeline.ranks", str(order)], check=False)
        told = json.loads(answer.read_text()) if answer.exists() else {}
        if "input_error" in told:
            raise InputError(told["input_error"])
        if ended.returncode != 0 or "summary" not in told:
            raise RuntimeError(f"one of {resources.ranks} processes ended with an error (exit {ended.returncode})")
        return dict(told["summary"])

    return body


def _rank(order: Path) -> None:
    """One of the processes."""
    content = json.loads(order.read_text())
    end_with(content["parent"])
    first = os.environ["RANK"] == "0"
    stage, cache = stage_adapter.validate_python(content["stage"]), Path(content["cache"])
    resources = Resources(**content["resources"])
    quiet_libraries(resources)
    place = Workplace(
        cache=cache,
        work=order.parent,
        progress=FileProgress(progress_file(cache, stage)) if first else silent,
        micro_batch=resources.micro_batch,
        checkpoint_every=resources.checkpoint_every,
    )
    try:
        told: dict[str, Any] = {"summary": body_of(stage, place)(Path(content["out"]))}
    except InputError as error:
        told = {"input_error": str(error)}
    if first:
        aside = order.with_name("ranks-answer.part")
        aside.write_text(json.dumps(told))
        aside.replace(order.with_name("ranks-answer.json"))


if __name__ == "__main__":
    _rank(Path(sys.argv[1]))
