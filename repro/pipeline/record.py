"""Provenance: what a stage was, where and when it ran, and the hash of every file that it left.

An artifact is a folder that holds `record.json`; it is built aside and renamed, so it is there whole or not at all.
"""

import hashlib
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

from repro.stages import Stage
from repro.stages.artifact import RECORD
from repro.stages.pins import served_model_names, unpinned_inputs
from repro.system.atomic_write import write_json
from repro.system.hardware import hardware, libraries, visible_gpus
from repro.system.redaction import redact


def file_hashes(folder: Path) -> dict[str, dict[str, Any]]:
    """sha256 and size of every file below the folder, the record itself excepted."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file != folder / RECORD:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found[str(file.relative_to(folder))] = {"sha256": digest, "bytes": file.stat().st_size}
    return found


def find_damage(folder: Path) -> str | None:
    """What differs between an artifact and its record, in words; None where they agree byte for byte."""
    try:
        stored = json.loads((folder / RECORD).read_text())["files"]
        facts = list(stored.items())
        present = file_hashes(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{RECORD} or a file beside it is not readable ({type(error).__name__})"
    for name, fact in facts:
        if name not in present:
            return f"{name} is missing"
        if present[name] != fact:
            return f"{name} has changed since it was written"
    return None


def code_version() -> dict[str, Any]:
    """Commit of the code and whether it was dirty; nulls where neither a checkout nor an image that was told tells."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str | None:
        try:
            run = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, timeout=300, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return run.stdout.strip()

    if not (root / ".git").exists():
        return _built_from(root / "COMMIT")
    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(git("status", "--porcelain")) if commit else None}


def _built_from(file: Path) -> dict[str, Any]:
    """What the image was built from: `git describe --always --dirty --abbrev=40`, written by the Dockerfile."""
    said = re.fullmatch(r"([0-9a-f]{40})(-dirty)?", file.read_text().strip()) if file.is_file() else None
    return {"commit": said[1] if said else None, "dirty": said[2] is not None if said else None}


def build_artifact(
    stage: Stage,
    cache: Path,
    body: Callable[[Path], dict[str, Any]],
    argv: list[str],
    *,
    layout: dict[str, Any] | None = None,
    gpus: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Run the body in a folder aside, add summary and record, and move the folder to its place.

    argv is the command line that a person typed, layout how the stage lay on its GPUs, gpus their names (None: all that this
    process sees); what looks like an access token is nowhere recorded.

    Raises:
        Whatever the body raises; nothing of the attempt is left at the artifact's place.
    """
    final = cache / stage.folder_name
    aside = cache / ".building" / f"{stage.folder_name}.{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        summary = body(aside)
        write_json(aside / "summary.json", summary)
        seconds = time.monotonic() - clock
        machine = hardware()
        used = list(visible_gpus() if gpus is None else gpus)
        record = {
            "stage": stage.does,
            "version": stage.version,
            "label": stage.label,
            "fingerprint": stage.fingerprint,
            "identity": stage.identity(),
            "config": stage.model_dump(mode="json"),
            "inputs": [needed.folder_name for needed in stage.inputs()],
            "code": code_version(),
            "unpinned": [*unpinned_inputs([stage]), *served_model_names([stage])],
            "libraries": libraries(),
            "python": platform.python_version(),
            "hardware": machine,
            **(layout or {"ranks": 1}),
            "started": started.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 2),
            "gpus": used,
            "gpu_hours": round(seconds / 3600 * len(used), 4),
            "peak_memory_gib": round(_peak_memory_gib(), 2),
            "peak_gpu_memory_gib": _peak_gpu_memory_gib(),
            "argv": argv,
            "files": file_hashes(aside),
        }
        write_json(aside / RECORD, redact(record))
        aside.rename(final)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return summary


def _peak_gpu_memory_gib() -> float | None:
    """What torch allocated on the GPUs in this process at most; None where it used none (vLLM keeps its own account)."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return round(max(torch.cuda.max_memory_allocated(n) for n in range(torch.cuda.device_count())) / 2**30, 2)


def _peak_memory_gib() -> float:
    """Host memory of this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
