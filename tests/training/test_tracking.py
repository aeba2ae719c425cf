"""Trackers of trainings: refused before any work if unknown or not installed; TensorBoard's files outlive the training."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from repro.errors import InputError
from repro.pipeline.context import make_context
from repro.planner.resources import Resources
from repro.progress import silent
from repro.training import tracking
from repro.training.tracking import Tracker, check_tracker, keep_event_files, tracking_arguments


def test_no_tracker_is_the_default():
    assert check_tracker(None) == Resources().tracker == ""
    assert tracking_arguments("", Path("work")) == {"report_to": "none"}


def test_a_tracker_that_is_unknown_or_not_installed_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"no such tracker\. Trackers: trackio, wandb, mlflow, tensorboard"):
        check_tracker("clearml")
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    for name in get_args(Tracker):
        with pytest.raises(InputError, match=rf"--track {name}: {name} is not installed here.*pip install {name}"):
            check_tracker(name)
    monkeypatch.setattr(tracking, "find_spec", lambda name: name)
    assert check_tracker("mlflow") == "mlflow"


def test_a_run_is_named_like_the_artifact():
    arguments = tracking_arguments("wandb", Path("cache/.work/calibrate-0123"))
    assert arguments["report_to"] == ["wandb"]
    assert arguments["run_name"] == "calibrate-0123"


def test_event_files_are_beside_the_cache_and_not_in_the_scratch_folder(tmp_path):
    work = tmp_path / "cache" / ".work" / "calibrate-0123"
    folder = make_context(tmp_path / "cache", work, silent, Resources(tracker="tensorboard")).training.event_files
    assert folder == tmp_path / "tensorboard" / "calibrate-0123"
    assert make_context(tmp_path / "cache", work, silent, Resources(tracker="wandb")).training.event_files is None
    unset, users = (type("TensorBoardCallback", (), {"logging_dir": value})() for value in (None, "of the user"))
    keep_event_files(SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[unset, users])), folder)
    assert (unset.logging_dir, users.logging_dir) == (str(folder), "of the user")


@pytest.mark.parametrize(
    "command",
    [
        ("run", "table2", "--scale", "toy"),
        ("calibrate", "toy:qwen3-teacher", "--target", "toy:qwen3-target", "--eta", "1"),
        ("distill", "toy:qwen3-student", "--teacher", "toy:qwen3-teacher"),
    ],
)
def test_a_missing_tracker_is_one_line_and_nothing_is_run(command, monkeypatch, tmp_path, capsys):
    from repro.cli import entry_point

    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    monkeypatch.setattr(entry_point.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(sys, "argv", ["repro", *command, "--track", "trackio", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        entry_point.main()
    assert end.value.code == 2
    assert "trackio is not installed here" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()
