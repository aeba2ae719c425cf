"""Resume after a kill at any point, with the numbers of an undisturbed run.

A checkpoint counts only once a marker lies in it. The marker is written when the trainer has written
everything else (on every rank), and says which run it belongs to.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

MARKER = "complete.json"


def run_identity(
    config: dict[str, Any], seed: int, rows: list[dict[str, Any]], sharded: bool = False
) -> dict[str, Any]:
    """What a checkpoint is of: the settings, the seed, and a hash of the training rows in their order; and whether it
    lies in parts, which only a sharded run can read."""
    digest = hashlib.sha256(b"[")
    for number, row in enumerate(rows):  # as one list, but one row's text at a time
        digest.update(f"{', ' if number else ''}{json.dumps(row, sort_keys=True)}".encode())
    digest.update(b"]")
    return {"config": config, "seed": seed, "rows": digest.hexdigest()} | ({"sharded": True} if sharded else {})


def newest_complete(work: Path, run: dict[str, Any]) -> Path | None:
    """The checkpoint to go on from, None to start afresh.

    Checkpoints that were cut off, or of another run, are removed: the trainer would count and rotate them as
    if they were good.

    Args:
        work: the trainer's output folder.
        run: what identifies this run: only checkpoints marked with the same value, and whose files have the bytes
            that the marker tells, count.
    """
    good: dict[int, Path] = {}
    for folder in work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if _marked(folder) == {"run": run, "files": _hashes(folder)}:
            good[int(folder.name.rpartition("-")[2])] = folder
        elif int(os.environ.get("RANK", "0")) == 0:
            shutil.rmtree(folder, ignore_errors=True)
    return good[max(good)] if good else None


def _marked(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return None


def _hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file but the marker, by its path in the folder."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith(MARKER):
            with file.open("rb") as stream:
                found[str(file.relative_to(folder))] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


class MarkComplete(TrainerCallback):
    """Writes the marker after the trainer has saved a checkpoint."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        from accelerate import PartialState

        PartialState().wait_for_everyone()  # other ranks still write their random state
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            draft = folder / f"{MARKER}.part"
            draft.write_text(json.dumps({"run": self.run, "files": _hashes(folder)}))
            draft.replace(folder / MARKER)
