"""Disks that fill up or turn read-only, bytes that change, clocks that jump."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from faults_kit import check_whole, measured, study_words


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own for the output; root only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=96m", "repro-faults", str(disk)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk wants root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def wait_for_artifacts(driver, out: Path, number: int) -> None:
    deadline = time.monotonic() + 200
    while len(list((out / "cache").glob("[a-z]*-*"))) < number:
        assert driver.poll() is None, driver.text()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1 << 16))
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as stream:
        while True:
            stream.write(b"0")
    return filler


@pytest.mark.parametrize("artifacts", [1, 6])
def test_the_disk_fills_up_in_the_middle(forge, undisturbed, small_disk, artifacts):
    driver = forge.start(study_words(small_disk))
    wait_for_artifacts(driver, small_disk, artifacts)
    filler = fill(small_disk)
    code, text = driver.wait(), driver.text()
    assert (code, "Traceback" in text) == (2, False), text
    assert "no space left on device" in text.lower()
    check_whole(small_disk)
    filler.unlink()
    code, text = forge.run(study_words(small_disk))
    assert code in (0, 1), text
    assert measured(small_disk) == measured(undisturbed)


def test_the_output_turns_read_only_in_the_middle(forge, undisturbed, small_disk):
    driver = forge.start(study_words(small_disk))
    wait_for_artifacts(driver, small_disk, 2)
    subprocess.run(["mount", "-o", "remount,ro,force", str(small_disk)], check=False, capture_output=True)
    if os.access(small_disk, os.W_OK):  # open files forbid it: stop the writer, and see the next start refuse
        driver.kill_all()
        driver.wait()
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    else:
        assert driver.wait() == 2, driver.text()
    code, text = forge.run(study_words(small_disk))
    assert (code, "Traceback" in text) == (2, False), text
    assert "Read-only file system" in text
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    check_whole(small_disk)
    code, text = forge.run(study_words(small_disk))
    assert code in (0, 1), text
    assert measured(small_disk) == measured(undisturbed)


def test_bytes_that_changed_are_seen_before_use(forge, undisturbed, tmp_path):
    """One artifact of each kind: truncated weights, a flipped bit, a file gone, a record cut short."""
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    first = {
        kind: next((tmp_path / "cache").glob(f"{kind}-*")) for kind in ("calibrate", "distill", "sample", "evaluate")
    }
    weights = first["calibrate"] / "model" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    weights = first["distill"] / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 4
    weights.write_bytes(content)
    (first["sample"] / "rollouts.parquet").unlink()
    record = first["evaluate"] / "record.json"
    os.truncate(record, record.stat().st_size // 2)
    code, text = forge.run(study_words(tmp_path))
    assert code in (0, 1), text
    aside = {folder.name.partition(".")[0] for folder in (tmp_path / "cache").glob("*.damaged-*")}
    assert aside == {folder.name for folder in first.values()}
    for folder in (tmp_path / "cache").glob("*.damaged-*"):
        shutil.rmtree(folder)
    assert check_whole(tmp_path) == 17
    assert measured(tmp_path) == measured(undisturbed)


def test_the_clock_jumps(forge, undisturbed, tmp_path):
    code, text = forge.run(study_words(tmp_path), patch="clock_jumps")
    assert code in (0, 1), text
    assert measured(tmp_path) == measured(undisturbed)
    for number, path in enumerate((tmp_path / "cache").rglob("*")):
        os.utime(path, (0, 0) if number % 2 else (4e9, 4e9))
    code, text = forge.run(study_words(tmp_path))
    assert code in (0, 1), text
    assert "0 to run" in text
