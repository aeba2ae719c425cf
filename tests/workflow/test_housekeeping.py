"""`repro ls`, `clean`, `why`: what refers to an artifact keeps it; nothing that is used, judged or running is removed."""

import hashlib
import json
import os

import filelock
import pytest

from repro.errors import InputError
from repro.workflow.housekeeping import find_leftovers, list_artifacts, list_results, remove
from repro.workflow.origin import find_origin


def artifact(out, name, *, inputs=(), argv=("repro", "run", "table2"), label="a stage"):
    folder = out / "cache" / name
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(name.encode() * 10)
    data = (folder / "model" / "model.safetensors").read_bytes()
    record = {
        "stage": name.split("-")[0],
        "label": label,
        "fingerprint": name.split("-")[1] + "0" * 48,
        "inputs": list(inputs),
        "ended": "2026-01-01T00:00:00+00:00",
        "seconds": 2.5,
        "argv": list(argv),
        "config": {
            "kind": "calibrate",
            "seed": 3,
            "config": {"eta": -0.5, "steps": 20},
            "teacher": {"kind": "base", "name": "toy:teacher", "revision": "sha256:abc"},
            "data": [{"task": "toy-bm4", "split": "train", "n": 12, "file": None, "revision": None}],
        },
        "code": {"commit": "1" * 40, "dirty": False},
        "libraries": {"torch": "2.13.0", "transformers": "5.17.0"},
        "hardware": {"cpus": 2},
        "gpus": [],
        "files": {"model/model.safetensors": {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}},
    }
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def result(out, name, artifacts):
    content = {
        "study": "table2",
        "scale": "toy",
        "families": ["qwen3"],
        "tasks": ["toy-bm4"],
        "seeds": [0, 1],
        "made": "2026-01-02T00:00:00+00:00",
        "settings": {"eta_distillable": 0.3},
        "assignments": ["eta=0.3"],
        "code": {"commit": None, "dirty": None},
        "libraries": {"torch": "2.13.0"},
        "hardware": {"machine": "x", "system": "x", "cpus": 2, "memory_gib": 1.0, "gpus": []},
        "stored_files": {},
        "verdicts": {
            "claims": [
                {"claim": f"c{n}", "family": "qwen3", "value": value, "margin": 0.0}
                for n, value in enumerate(["reproduced", "reproduced", "contradicted"])
            ]
        },
        "measured": [],
        "rows": [{"family": "qwen3", "method": "SFT", "seed": 0, "artifact": artifacts[0]}],
        "stages": [
            {
                "artifact": line,
                "stage": line.split("-")[0],
                "kind": line.split("-")[0],
                "label": line,
                "seconds": 1.0,
                "gpu_hours": 0.0,
                "peak_memory_gib": 0.1,
                "started": "2026-01-01T00:00:00+00:00",
                "ended": "2026-01-01T00:00:00+00:00",
                "summary": {},
            }
            for line in artifacts
        ],
        "examples": [],
        "curves": [],
    }
    (out / name).mkdir(parents=True)
    (out / name / "results.json").write_text(json.dumps(content))


@pytest.fixture
def out(tmp_path):
    """A study of one evaluation, one stage that the user asked for and its input, and two that nothing needs."""
    artifact(tmp_path, "distill-aaaa000000000000")
    artifact(tmp_path, "evaluate-bbbb000000000000", inputs=["distill-aaaa000000000000"])
    result(tmp_path, "table2-toy", ["evaluate-bbbb000000000000"])
    artifact(tmp_path, "sample-cccc000000000000", argv=("repro", "distill", "x"))
    artifact(tmp_path, "distill-dddd000000000000", inputs=["sample-cccc000000000000"], argv=("repro", "distill", "x"))
    artifact(tmp_path, "sample-eeee000000000000")
    artifact(tmp_path, "evaluate-ffff000000000000", inputs=["sample-eeee000000000000"])
    return tmp_path


def names(leftovers):
    return {entry.path.name for entry in leftovers}


def test_results_and_artifacts_are_listed(out):
    (entry,) = list_results(out)
    assert (entry.study, entry.seeds, entry.assignments) == ("table2", (0, 1), ("eta=0.3",))
    assert entry.counts == {"reproduced": 2, "contradicted": 1}
    by_name = {entry.folder.name: entry.users for entry in list_artifacts(out)}
    assert by_name["evaluate-bbbb000000000000"] == ("table2-toy",)
    assert by_name["distill-aaaa000000000000"] == ("evaluate-bbbb000000000000",)
    assert by_name["distill-dddd000000000000"] == ("repro distill",)
    with pytest.raises(InputError, match="no such folder"):
        list_results(out / "nowhere")


def test_only_what_nothing_needs_may_go(out):
    leftovers = find_leftovers(out)
    assert names(leftovers) == {"sample-eeee000000000000", "evaluate-ffff000000000000"}
    for entry in leftovers:
        remove(entry)
    assert find_leftovers(out) == []
    assert len(list_artifacts(out)) == 4
    assert (out / "table2-toy" / "results.json").is_file()


def test_a_panel_keeps_its_artifact(out):
    (out / "traps-1").mkdir()
    (out / "traps-1" / "panel.json").write_text(json.dumps({"artifact": "evaluate-ffff000000000000"}))
    assert find_leftovers(out) == []


def test_a_damaged_result_keeps_everything(out):
    (out / "table1-toy").mkdir()
    (out / "table1-toy" / "results.json").write_text("{")
    assert find_leftovers(out) == []


def test_a_damaged_panel_keeps_everything(out):
    """Its artifact may be a study's, which nothing else names any more."""
    (out / "traps-1").mkdir()
    (out / "traps-1" / "panel.json").write_text("{")
    assert find_leftovers(out) == []


def test_a_running_stage_keeps_its_files(out):
    cache = out / "cache"
    (cache / ".locks").mkdir()
    torsos = [cache / ".building" / "sample-9999.1", cache / ".work" / "sample-9999"]
    for folder in torsos:
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(b"12")
    dead = 2**22 + 1  # above any process id
    torsos[0].rename(torsos[0].with_name(f"sample-9999.{dead}"))
    (cache / ".building" / f"sample-8888.{os.getpid()}").mkdir()
    torsos_found = {entry.path.name for entry in find_leftovers(out) if entry.reason == "partial"}
    assert torsos_found == {f"sample-9999.{dead}", "sample-9999"}
    with filelock.FileLock(cache / ".locks" / "sample-9999.lock"):
        assert not {entry.path.name for entry in find_leftovers(out) if entry.reason == "partial"}
    with filelock.FileLock(cache / ".locks" / "sample-eeee000000000000.lock"):
        assert names(find_leftovers(out)) & {"sample-eeee000000000000"} == set()


def test_what_made_a_file(out, tmp_path_factory):
    file = out / "cache" / "distill-dddd000000000000" / "model" / "model.safetensors"
    origin = find_origin(file, out)
    assert "a stage (seed 3; distill)" in origin.maker
    assert origin.command == "repro distill x"
    assert origin.settings == {"eta": -0.5, "steps": 20}
    assert origin.is_unchanged is True
    labels = [(depth, label) for depth, label, _ in origin.inputs]
    assert (0, "a stage") in labels
    assert (0, "teacher: toy:teacher (sha256:abc)") in labels
    assert (1, "data: toy-bm4, train, 12 items (made by the package)") in labels
    copy = tmp_path_factory.mktemp("elsewhere") / "weights.bin"
    copy.write_bytes(file.read_bytes())
    assert find_origin(copy, out).folder == file.parents[1]
    file.write_bytes(b"changed")
    assert find_origin(file, out).is_unchanged is False
    copy.write_bytes(b"unknown")
    with pytest.raises(InputError, match="no artifact in"):
        find_origin(copy, out)


def test_what_made_a_page(out):
    page = out / "table2-toy" / "report.html"
    page.write_text("")
    origin = find_origin(page, out)
    assert origin.maker.startswith("study table2 at scale toy")
    assert origin.command == "repro run table2 --scale toy --seeds 2 --family qwen3 --set eta=0.3"
    assert [(depth, name) for depth, _, name in origin.inputs if name] == [
        (0, "evaluate-bbbb000000000000"),
        (1, "distill-aaaa000000000000"),
    ]


def test_an_artifact_is_labelled_by_its_model_eta_method_and_score(tmp_path):
    """A model of another command is known by its folder alone: its record says what it is."""
    calibrated = artifact(tmp_path, "calibrate-aaaa000000000000", label="calibrate teacher, eta -0.5")
    student = artifact(tmp_path, "distill-bbbb000000000000")
    config = {
        "kind": "distill",
        "seed": 1,
        "student": {"kind": "base", "name": "/models/tiny", "revision": "sha256:1"},
        "teacher": {"kind": "base", "name": "elsewhere/calibrate-aaaa000000000000/model", "revision": "sha256:2"},
        "config": {"method": "sft", "divergence": None},
    }
    change(student, config=config)
    evaluated = artifact(tmp_path, "evaluate-cccc000000000000")
    model = {"kind": "base", "name": "elsewhere/distill-bbbb000000000000/model", "revision": "sha256:3"}
    change(evaluated, config={"kind": "evaluate", "seed": 4, "model": model})
    (evaluated / "summary.json").write_text(json.dumps({"gsm8k": {"acc": 0.25, "completions_per_item": 2}}))
    guarded = artifact(tmp_path, "evaluate-dddd000000000000", label="evaluate a student of guarded completions")
    model = config | {"samples": {"kind": "guarded"}}
    change(guarded, config={"kind": "evaluate", "seed": 0, "model": model})
    entries = {entry.folder.name: entry for entry in list_artifacts(tmp_path)}
    assert entries[calibrated.name].label == "calibrate toy:teacher at eta -0.5"
    assert entries[student.name].label == "distill tiny by sft from toy:teacher at eta -0.5"
    label = "evaluate tiny by sft from toy:teacher at eta -0.5 (seed 1, its teacher 3)"
    assert (entries[evaluated.name].label, entries[evaluated.name].seed) == (label, 4)
    assert entries[evaluated.name].scores == {"gsm8k": ("acc", 0.25)}
    assert entries[guarded.name].label == "evaluate a student of guarded completions"
    assert find_origin(student, tmp_path).maker.startswith("distill tiny by sft from toy:teacher at eta -0.5 (seed 1")


def change(folder, **fields):
    """Replace fields of an artifact's record."""
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | fields))


def test_records_that_name_each_other_have_a_label(tmp_path):
    folders = [artifact(tmp_path, f"distill-{letter * 4}000000000000") for letter in "ab"]
    for folder, other in zip(folders, reversed(folders)):
        base = {"kind": "base", "name": f"{other}/model", "revision": "sha256:1"}
        change(
            folder, config={"kind": "distill", "seed": 0, "student": base, "teacher": base, "config": {"method": "sft"}}
        )
    assert [entry.label.startswith("distill ") for entry in list_artifacts(tmp_path)] == [True, True]


def test_artifacts_that_differ_in_a_setting_alone_are_told_apart(tmp_path):
    base = {"kind": "base", "name": "org/tiny", "revision": "abc"}
    for n, steps in enumerate((20, 60)):
        folder = artifact(tmp_path, f"calibrate-{n:016x}")
        change(folder, config={"kind": "calibrate", "seed": 0, "teacher": base, "config": {"eta": 0, "steps": steps}})
    labels = [entry.label for entry in list_artifacts(tmp_path)]
    assert labels == [f"calibrate org/tiny at eta 0, steps {steps}" for steps in (20, 60)]
