"""Resume after a kill at any point, with the same numbers as an uninterrupted run.

A checkpoint counts only if it has a marker. The marker is written after everything else has been saved (on every rank)
and names the run that the checkpoint belongs to.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

MARKER = "complete.json"


def run_identity(
    config: dict[str, Any],
    seed: int,
    rows: list[dict[str, Any]],
    *,
    templates: Sequence[str] = (),
    sharded: bool = False,
) -> dict[str, Any]:
    """Return the identity of a run: settings, seed, and hashes of the ordered training rows and of the chat templates.

    Whether the run is sharded is included, because a sharded checkpoint can only be read by a sharded run.

    Args:
        templates: `models.template_hash.template_hash` of the tokenizers that render the rows' messages.
    """
    digest = hashlib.sha256(b"[")
    for number, row in enumerate(rows):  # the hash of the list as JSON, one row at a time to save memory
        digest.update(f"{', ' if number else ''}{json.dumps(row, sort_keys=True)}".encode())
    digest.update(b"]")
    run = {"config": config, "seed": seed, "rows": digest.hexdigest(), "templates": list(templates)}
    return run | ({"sharded": True} if sharded else {})


def newest_complete(work: Path, run: dict[str, Any]) -> Path | None:
    """Return the checkpoint to resume from; None to start over. Every rank must call it; the first rank decides.

    Incomplete checkpoints and those of other runs are removed, since the trainer would count and rotate them as valid.

    Args:
        work: the trainer's output folder.
        run: `run_identity`; only checkpoints marked with it count, and only if their files match the marker's hashes.
    """
    from accelerate.utils import broadcast_object_list

    is_first = int(os.environ.get("RANK", "0")) == 0
    return broadcast_object_list([_remove_all_but_complete(work, run) if is_first else None])[0]


def _remove_all_but_complete(work: Path, run: dict[str, Any]) -> Path | None:
    """Remove everything but complete checkpoints of the run; return the newest."""
    good: dict[int, Path] = {}
    for folder in work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if _is_complete(folder, run):
            good[int(folder.name.rpartition("-")[2])] = folder
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return good[max(good)] if good else None


def _is_complete(folder: Path, run: dict[str, Any]) -> bool:
    """Return True if the marker names this run and the files match its hashes; files are read only if it does."""
    try:
        marked = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(marked, dict) and marked.get("run") == run and marked.get("files") == _hashes(folder)


def _hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file except the marker, keyed by its path in the folder."""
    hashes = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith(MARKER):
            with file.open("rb") as stream:
                hashes[str(file.relative_to(folder))] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


class SaveByTime(TrainerCallback):
    """Saves a checkpoint at the end of a step once a given time has passed since the last one, on all ranks at once.

    Args:
        seconds: time between checkpoints; a kill loses at most this plus one step.
        clock: monotonic clock, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self._last = clock()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._last = self.clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        from accelerate.utils import broadcast_object_list

        is_due = self.clock() - self._last >= self.seconds and state.global_step < state.max_steps
        if broadcast_object_list([is_due])[0]:  # the first rank's clock decides
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._last = self.clock()


class MarkComplete(TrainerCallback):
    """Writes the marker after the trainer has saved a checkpoint."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        from accelerate import PartialState

        PartialState().wait_for_everyone()  # other ranks may still be writing their random state
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            draft = folder / f"{MARKER}.part"
            draft.write_text(json.dumps({"run": self.run, "files": _hashes(folder)}))
            draft.replace(folder / MARKER)
