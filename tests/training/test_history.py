import hashlib
import json
import types
from pathlib import Path
from typing import Any

import pytest

from repro.training import checkpoints
from repro.training.checkpoints import SaveByTime, newest_complete, run_identity
from repro.training.history import final_figures, history, write_history

RUN = run_identity({"eta": 1.0}, 0, [{"item": 1}])


def test_rows_have_our_names_and_no_nan(tmp_path: Path) -> None:
    log = [{"loss": 1.5, "x/kl": float("nan"), "step": 1, "step_time": 3.0}, {"train_runtime": 9.0}]
    rows = history(log, {"step": "step", "loss": "loss", "x/kl": "kl", "absent": "absent"})
    assert rows == [{"step": 1, "loss": 1.5, "kl": None}]
    write_history(tmp_path / "history.jsonl", rows)
    assert json.loads((tmp_path / "history.jsonl").read_text()) == rows[0]


def test_final_figures_are_the_last_tenth() -> None:
    rows: list[dict[str, Any]] = [{"step": n, "loss": float(n), "r": None} for n in range(1, 21)]
    assert final_figures(rows) == {"loss": 19.5}
    assert final_figures([]) == {}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The checkpoints whose files are read."""
    names: list[str] = []
    hashes = checkpoints._hashes

    def note(folder: Path) -> dict[str, str]:
        names.append(folder.name)
        return hashes(folder)

    monkeypatch.setattr(checkpoints, "_hashes", note)
    return names


def test_only_marked_checkpoints_of_this_run_count(tmp_path: Path, hashed: list[str]) -> None:
    assert newest_complete(tmp_path / "absent", RUN) is None
    weights = {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    good = json.dumps({"run": RUN, "files": weights})
    other_run = json.dumps({"run": RUN | {"seed": 1}, "files": weights})
    marks = {2: good, 10: good, 12: None, 14: "{", 16: other_run, 18: good, 20: good}
    for step, mark in marks.items():
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes({18: b"weight", 20: b"weightz"}.get(step, b"weights"))
        if mark is not None:
            (folder / "complete.json").write_text(mark)
    assert newest_complete(tmp_path, RUN) == tmp_path / "checkpoint-10"  # by number, not by name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2"]
    assert sorted(hashed) == ["checkpoint-10", "checkpoint-18", "checkpoint-2", "checkpoint-20"]


def test_identity_holds_rows_and_their_order() -> None:
    assert run_identity({"eta": 1.0}, 0, [{"item": 1}]) == RUN
    reordered = run_identity({"eta": 1.0}, 0, [{"item": 2}, {"item": 1}])
    assert reordered != run_identity({"eta": 1.0}, 0, [{"item": 1}, {"item": 2}])
    assert RUN["rows"] != reordered["rows"]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_only_the_first_process_removes_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    monkeypatch.setenv("RANK", rank)
    assert newest_complete(tmp_path, RUN) is None
    assert (tmp_path / "checkpoint-1").exists() is (rank == "1")


def test_the_other_processes_follow_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[str]
) -> None:
    """What the first has left when they look may be gone a moment later."""
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "complete.json").write_text(json.dumps({"run": RUN, "files": {}}))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("accelerate.utils.broadcast_object_list", lambda own: [tmp_path / "checkpoint-7"])
    assert newest_complete(tmp_path, RUN) == tmp_path / "checkpoint-7"
    assert not hashed


def test_checkpoints_by_time() -> None:
    """Steps of 4 minutes, a checkpoint of 3: one is due each 10 minutes after the last was written, none after the last step."""
    now = [0.0]
    callback = SaveByTime(600, clock=lambda: now[0])
    now[0] = 300.0  # loading the models
    callback.on_train_begin(None, None, None)
    saved = []
    for step in range(1, 13):
        now[0] += 240
        control = types.SimpleNamespace(should_save=False)
        callback.on_step_end(None, types.SimpleNamespace(global_step=step, max_steps=12), control)
        if control.should_save:
            saved.append(step)
            now[0] += 180
            callback.on_save(None, None, None)
    assert saved == [3, 6, 9]
