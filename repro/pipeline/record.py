"""Provenance: what a stage was, where and when it ran, and the hash of every file it wrote.

An artifact is a folder with a `record.json`. It is built under a temporary name and renamed: complete or absent.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repro.models.loading import load_tokenizer, locate
from repro.models.template_date import DATE
from repro.models.template_hash import template_hash
from repro.pipeline.file_hashes import file_hashes
from repro.pipeline.model_card import CardFacts, write_card
from repro.stages import MakesModel, Stage
from repro.stages.artifact import MODEL, RECORD
from repro.stages.pins import served_model_names, unpinned_inputs
from repro.stages.readable_label import describe_made_model
from repro.system.atomic_write import write_json
from repro.system.gpus import visible_gpus
from repro.system.hardware import hardware, libraries
from repro.system.phases import phase, take_phases
from repro.system.redaction import redact
from repro.tasks.grading import RULES
from repro.tasks.thoughts import THOUGHTS


def find_damage(folder: Path) -> str | None:
    """Describe how an artifact differs from its record; None if they agree byte for byte.

    Files unchanged since they were last hashed are not read again.
    """
    try:
        facts = list(recorded_files(folder).items())
        present = file_hashes(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{RECORD} or another file of the artifact is not readable ({type(error).__name__})"
    for name, fact in facts:
        if name not in present:
            return f"{name} is missing"
        if present[name] != fact:
            return f"{name} has changed since it was written"
    return None


def recorded_files(folder: Path) -> dict[str, Any]:
    """Return the recorded hash and size of each file of an artifact."""
    files: dict[str, Any] = json.loads((folder / RECORD).read_text())["files"]
    return files


def code_version() -> dict[str, Any]:
    """Return the commit of the code and whether it was dirty; nulls outside a checkout and our image."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str | None:
        try:
            run = subprocess.run(
                ["git", "-C", root, *arguments], capture_output=True, text=True, timeout=300, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return run.stdout.strip()

    if not (root / ".git").exists():
        return _built_from(root / "COMMIT")
    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(git("status", "--porcelain")) if commit else None}


def _built_from(file: Path) -> dict[str, Any]:
    """Read what the image was built from: `git describe --always --dirty --abbrev=40`, written by the Dockerfile."""
    match = re.fullmatch(r"([0-9a-f]{40})(-dirty)?", file.read_text().strip()) if file.is_file() else None
    return {"commit": match[1] if match else None, "dirty": match[2] is not None if match else None}


def build_artifact(
    stage: Stage,
    cache: Path,
    function: Callable[[Path], dict[str, Any]],
    *,
    argv: Sequence[str],
    layout: dict[str, Any] | None = None,
    gpus: Sequence[str] | None = None,
    process_seconds: float | None = None,
) -> dict[str, Any]:
    """Run the function in a temporary folder, add summary and record, and rename the folder to the artifact's name.

    Anything that looks like an access token is left out of the record.

    Args:
        argv: the command line that the user typed.
        layout: the stage's layout on its GPUs.
        gpus: names of the GPUs; None for all that this process sees.
        process_seconds: time since the stage's process started; None if it shares one.

    Raises:
        Whatever the function raises; nothing of the attempt is left under the artifact's name.
    """
    final = cache / stage.folder_name
    building = cache / ".building" / f"{stage.folder_name}.{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    started, clock = datetime.now(UTC), time.monotonic()
    take_phases()  # left by an earlier stage in this process
    try:
        with phase("other"):
            summary = function(building)
            write_json(building / "summary.json", summary)
            if isinstance(stage, MakesModel) and (building / MODEL).is_dir():
                name = describe_made_model(stage.model_dump(mode="json"), cache)
                write_card(building / MODEL, stage, CardFacts(name, summary.get("prompts"), summary.get("kl")))
        seconds = time.monotonic() - clock
        used = list(visible_gpus() if gpus is None else gpus)
        measured = {
            "started": started.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 2),
            "phases": take_phases(),
            "process_seconds": None if process_seconds is None else round(process_seconds, 2),
            "gpus": used,
            "gpu_hours": round(seconds / 3600 * len(used), 4),
            "peak_memory_gib": round(_peak_memory_gib(), 2),
            "peak_gpu_memory_gib": _peak_gpu_memory_gib(),
        }
        made = {**_provenance(stage), **(layout or {"ranks": 1}), **measured}
        record = {**made, "argv": list(argv), "files": file_hashes(building, artifact=final)}
        write_json(building / RECORD, redact(record))
        building.rename(final)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return summary


def _provenance(stage: Stage) -> dict[str, Any]:
    """Return what the stage is, and the code and machine it ran on."""
    return {
        "stage": stage.kind,
        "version": stage.version,
        "label": stage.label,
        "fingerprint": stage.fingerprint,
        "identity": stage.identity(),
        "config": stage.model_dump(mode="json"),
        "grading": {"rules": RULES, "thoughts": THOUGHTS} if stage.reads_answers else None,
        "inputs": [source.folder_name for source in stage.inputs()],
        "code": code_version(),
        "templates": _templates(stage),
        "unpinned": [*unpinned_inputs([stage]), *served_model_names([stage])],
        "libraries": libraries(),
        "python": platform.python_version(),
        "hardware": hardware(),
    }


def _templates(stage: Stage) -> dict[str, str]:
    """Return the date passed to chat templates, and a hash of what the templates of user and hub models render."""
    names = sorted({model.name for model in stage.base_models() if model.template is not None})
    return {"date": DATE} | {name: template_hash(load_tokenizer(locate(name))) for name in names}


def _peak_gpu_memory_gib() -> float | None:
    """Return torch's peak GPU allocation in this process (vLLM excluded); None if it used no GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return round(max(torch.cuda.max_memory_allocated(n) for n in range(torch.cuda.device_count())) / 2**30, 2)


def _peak_memory_gib() -> float:
    """Return the peak host memory of this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
