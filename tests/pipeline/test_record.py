"""Artifacts are complete or absent, and their records account for every byte."""

import json

import pytest

from repro.pipeline import record as record_module
from repro.pipeline.file_hashes import file_hashes
from repro.pipeline.record import build_artifact, find_damage
from repro.recipes import toy
from repro.stages import BaseModelRef, Sample, TaskData
from repro.stages.artifact import is_complete
from repro.system.atomic_write import write_json
from repro.system.hardware import hardware, libraries


@pytest.fixture
def stage():
    return Sample(
        model=BaseModelRef(name="m", revision="sha256:00"),
        data=(TaskData(task="toy-bm4", split="train", n=2, seed=0),),
        config=toy.settings().teacher_sampling,
        seed=0,
    )


def write_files(folder):
    (folder / "data.txt").write_text("rows")
    (folder / "model").mkdir()
    (folder / "model" / "weights.bin").write_bytes(bytes(range(256)))
    return {"rows": 1}


def test_a_record_accounts_for_every_file(stage, tmp_path):
    build_artifact(stage, tmp_path, write_files, argv=["repro", "sample"])
    folder = tmp_path / stage.folder_name
    record = json.loads((folder / "record.json").read_text())
    assert set(record["files"]) == {"data.txt", "model/weights.bin", "summary.json"}
    assert record["fingerprint"] == stage.fingerprint
    assert record["files"] == file_hashes(folder)
    assert record["libraries"]["torch"] == libraries()["torch"]
    assert record["seconds"] >= 0
    assert set(record["phases"]) == {"other"}
    assert find_damage(folder) is None


def test_a_failing_function_leaves_nothing(stage, tmp_path):
    def fails(folder):
        write_files(folder)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        build_artifact(stage, tmp_path, fails, argv=[])
    assert not (tmp_path / stage.folder_name).exists()
    assert list((tmp_path / ".building").iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "record"])
def test_damage_is_found(stage, tmp_path, damage):
    build_artifact(stage, tmp_path, write_files, argv=[])
    folder = tmp_path / stage.folder_name
    weights = folder / "model" / "weights.bin"
    if damage == "flip":
        content = bytearray(weights.read_bytes())
        content[100] ^= 1
        weights.write_bytes(content)
    elif damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "delete":
        weights.unlink()
    else:
        (folder / "record.json").write_text('{"files": {')
    assert find_damage(folder) is not None


def test_tokens_on_the_command_line_are_not_recorded(stage, tmp_path):
    build_artifact(stage, tmp_path, write_files, argv=["repro", "--token", "hf_abcdefghijklmnopqrstuvwxyz"])
    text = (tmp_path / stage.folder_name / "record.json").read_text()
    assert "hf_abc" not in text
    assert "***" in text


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_a_folder_without_a_record_is_not_complete(tmp_path):
    (tmp_path / "data.txt").write_text("rows")
    assert not is_complete(tmp_path)


def test_hardware_does_not_name_the_host():
    gpu = {"gpus", "gpus_hidden", "gpus_unknown", "gpu_devices", "driver_cuda", "cuda", "shared_memory_gib"}
    other = {"machine", "processor", "system", "cpus", "memory_gib", "container", "missing_build_tools"}
    assert set(hardware()) == other | gpu


def test_a_record_says_what_was_unpinned(stage, tmp_path):
    hub = stage.model_copy(update={"model": BaseModelRef(name="org/model", revision="unpinned")})
    build_artifact(hub, tmp_path, write_files, argv=[])
    build_artifact(stage, tmp_path, write_files, argv=[])
    records = [json.loads((tmp_path / s.folder_name / "record.json").read_text()) for s in (hub, stage)]
    assert [record["unpinned"] for record in records] == [["org/model"], []]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("d4" * 20 + "\n", {"commit": "d4" * 20, "dirty": False}),
        ("d4" * 20 + "-dirty\n", {"commit": "d4" * 20, "dirty": True}),
        ("unknown\n", {"commit": None, "dirty": None}),
        (None, {"commit": None, "dirty": None}),
    ],
)
def test_an_image_knows_the_commit_that_it_was_built_from(monkeypatch, tmp_path, text, version):
    monkeypatch.setattr(record_module, "__file__", str(tmp_path / "repro" / "pipeline" / "record.py"))
    if text is not None:
        (tmp_path / "COMMIT").write_text(text)
    assert record_module.code_version() == version


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"files": 3}', '{"files": ["data.txt"]}', "\x00\xff"])
def test_a_record_that_cannot_be_read_is_damage(stage, tmp_path, content):
    build_artifact(stage, tmp_path, write_files, argv=[])
    folder = tmp_path / stage.folder_name
    (folder / "record.json").write_text(content)
    assert "not readable" in find_damage(folder)
