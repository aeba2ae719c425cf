"""Live logging of training runs to a tracker, through transformers' `report_to`.

It is not part of a stage's identity. The tracker reads keys and server addresses from its own environment variables;
they are not recorded.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from repro.errors import InputError

Tracker = Literal["trackio", "wandb", "mlflow", "tensorboard"]
PROJECT = "distillability-repro"
"""Project name in trackio; wandb and mlflow read theirs from WANDB_PROJECT and MLFLOW_EXPERIMENT_NAME."""


def check_tracker(name: str | None) -> str:
    """Return the tracker's name; "" for none.

    Raises:
        InputError: an unknown name, or a tracker that is not installed.
    """
    if not name:
        return ""
    if name not in get_args(Tracker):
        raise InputError(f"--track {name}: no such tracker. Trackers: {', '.join(get_args(Tracker))}")
    if find_spec(name) is None:
        raise InputError(
            f"--track {name}: {name} is not installed here. Install it (pip install {name}), or leave out --track"
        )
    return name


def tracking_arguments(tracker: str, work: Path) -> dict[str, Any]:
    """Return the trainer's reporting arguments; the run is named after the stage's artifact.

    Args:
        tracker: a name accepted by `check_tracker`, or "".
        work: the stage's scratch folder, named like its artifact.
    """
    return {"report_to": [tracker], "run_name": work.name, "project": PROJECT} if tracker else {"report_to": "none"}


def keep_event_files(trainer: Any, folder: Path | None) -> None:
    """Make TensorBoard's callback write to a folder that is kept, unless its environment variable names one."""
    for callback in trainer.callback_handler.callbacks:
        if folder is not None and type(callback).__name__ == "TensorBoardCallback" and callback.logging_dir is None:
            callback.logging_dir = str(folder)
