"""Hashes of artifacts are remembered, and only as long as nothing was touched."""

import hashlib
import os
import time

import pytest
from rich.console import Console

from repro.pipeline import file_hashes as module
from repro.pipeline import run as run_module
from repro.pipeline.file_hashes import file_hashes, unread_bytes
from repro.pipeline.record import build_artifact, find_damage
from repro.recipes.catalog import plan
from repro.stages import Sample

OLD_NS = 10 * 10**9


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sample-0123"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights.bin").write_bytes(bytes(range(256)))
    (folder / "rollouts.parquet").write_bytes(b"rows")
    return folder


@pytest.fixture
def read_files(monkeypatch):
    """The names of the files that were read to hash them."""
    names = []
    digest = hashlib.file_digest

    def note(stream, kind):
        names.append(os.path.basename(stream.name))
        return digest(stream, kind)

    monkeypatch.setattr(module.hashlib, "file_digest", note)
    return names


@pytest.fixture
def later(monkeypatch):
    """Hash as if some seconds had passed since the files were written."""
    monkeypatch.setattr(module.time, "time_ns", lambda now=time.time_ns: now() + OLD_NS)


def test_an_untouched_file_is_read_once(folder, read_files, later):
    first = file_hashes(folder)
    assert sorted(read_files) == ["rollouts.parquet", "weights.bin"]
    assert unread_bytes(folder) == 0
    assert file_hashes(folder) == first
    assert len(read_files) == 2
    assert first["model/weights.bin"] == {"sha256": hashlib.sha256(bytes(range(256))).hexdigest(), "bytes": 256}


def test_a_file_that_has_just_changed_is_read_again(folder, read_files):
    """It could change once more within the same time stamp."""
    file_hashes(folder)
    file_hashes(folder)
    assert len(read_files) == 4
    assert unread_bytes(folder) == 260


@pytest.mark.parametrize("change", ["content", "content and times", "replaced", "shorter"])
def test_a_touched_file_is_read_again(folder, read_files, later, change):
    weights = folder / "model" / "weights.bin"
    before = file_hashes(folder)
    stat = weights.stat()
    if change in ("content", "content and times"):
        weights.write_bytes(bytes(255) + b"!")
    elif change == "replaced":
        (folder.parent / "new").write_bytes(bytes(256))
        (folder.parent / "new").replace(weights)
    else:
        weights.write_bytes(bytes(10))
    if change != "content":  # as cp --preserve and rsync leave them
        os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = file_hashes(folder)
    assert after["model/weights.bin"] != before["model/weights.bin"]
    assert after["rollouts.parquet"] == before["rollouts.parquet"]
    assert read_files[2:] == ["weights.bin"]


def test_damaged_memory_is_not_trusted(folder, later):
    before = file_hashes(folder)
    memory = folder.parent / ".verified" / "sample-0123.json"
    for content in ("", "[]", "{}", '{"rollouts.parquet": {"sha256": 1, "state": []}}', '{"rollouts.parquet": null}'):
        memory.write_text(content)
        assert file_hashes(folder) == before


def test_a_new_artifact_is_not_read_by_the_stages_after_it(tmp_path, read_files, later):
    """build_artifact hashes under a temporary name; what it saw counts under the artifact's own."""
    stage = next(stage for stage in plan("table2", scale="toy", seeds=1).stages() if isinstance(stage, Sample))

    def write(folder):
        (folder / "rollouts.parquet").write_bytes(b"rows")
        return {"rows": 1}

    read_files.clear()
    build_artifact(stage, tmp_path, write, argv=[])
    assert sorted(read_files) == ["rollouts.parquet", "summary.json"]
    assert find_damage(tmp_path / stage.folder_name) is None
    assert len(read_files) == 2
    (tmp_path / stage.folder_name / "rollouts.parquet").write_bytes(b"Rows")
    assert find_damage(tmp_path / stage.folder_name) == "rollouts.parquet has changed since it was written"


def test_a_long_check_is_announced_and_timed(tmp_path, later, monkeypatch, capsys):
    stage = next(stage for stage in plan("table2", scale="toy", seeds=1).stages() if isinstance(stage, Sample))
    build_artifact(stage, tmp_path, lambda folder: {"rows": 1}, argv=[])
    console = Console(force_terminal=False, width=200)
    run_module.report_check([stage], tmp_path, console)
    assert capsys.readouterr().out == ""
    (tmp_path / ".verified" / f"{stage.folder_name}.json").unlink()
    monkeypatch.setattr(run_module, "MUCH_TO_READ", 1)
    run_module.report_check([stage], tmp_path, console)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("checking 1 finished artifacts: 0.0 GiB to read")
    assert lines[1].startswith("checked in 0 s")
    run_module.report_check([stage], tmp_path, console)
    assert capsys.readouterr().out == ""
