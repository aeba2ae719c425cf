"""Disks that fill up or become read-only, bytes that change, clocks that jump."""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from faults_kit import MOMENTS, check_artifacts, measured, study_arguments

from repro.pipeline.record import find_damage

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def small_disk(tmp_path):
    """A small file system for the output; root only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m", "repro-faults", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def wait_for_artifacts(driver, out: Path, number: int) -> None:
    while len(list((out / "cache").glob("[a-z]*-*"))) < number:
        assert driver.poll() is None, driver.text()
        time.sleep(0.005)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_disk_fills_up(forge, undisturbed, small_disk, moment):
    """One line, nothing half-written; with free space again the same command ends with the undisturbed numbers."""
    filler = small_disk / "filler"
    env = {"REPRO_FAULT_AT": MOMENTS[moment], "REPRO_FAULT_FILE": str(filler)}
    arguments = study_arguments(small_disk, "--checkpoint-every", "1")
    code, text = forge.run(arguments, env, patch="the_disk_fills_up")
    assert filler.exists(), text
    assert (code, "Traceback" in text) == (2, False), text
    assert "no space left on device" in text.lower()
    messages = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1, text
    check_artifacts(small_disk)
    assert [file.name for file in small_disk.glob("table2-toy/.*")] == []
    filler.unlink()
    code, text = forge.run(arguments)
    assert code in (0, 1), text
    assert measured(small_disk) == measured(undisturbed)
    assert (small_disk / "table2-toy" / "report.html").read_text().rstrip().endswith("</html>")


def test_the_output_becomes_read_only_during_a_run(forge, undisturbed, small_disk):
    driver = forge.start(study_arguments(small_disk))
    wait_for_artifacts(driver, small_disk, 2)
    subprocess.run(["mount", "-o", "remount,ro,force", str(small_disk)], check=False, capture_output=True)
    if os.access(small_disk, os.W_OK):  # open files prevent it: stop the writer, and let the next start be refused
        driver.kill_all()
        driver.wait()
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    else:
        assert driver.wait() == 2, driver.text()
    code, text = forge.run(study_arguments(small_disk))
    assert (code, "Traceback" in text) == (2, False), text
    assert "Read-only file system" in text
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    check_artifacts(small_disk)
    code, text = forge.run(study_arguments(small_disk))
    assert code in (0, 1), text
    assert measured(small_disk) == measured(undisturbed)


def test_changed_bytes_are_found_before_use(forge, undisturbed, tmp_path):
    """One artifact of each kind: truncated weights, a flipped bit, a deleted file, a truncated record."""
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
    code, text = forge.run(study_arguments(tmp_path))
    assert code in (0, 1), text
    moved_aside = {folder.name.partition(".")[0] for folder in (tmp_path / "cache").glob("*.damaged-*")}
    assert moved_aside == {folder.name for folder in first.values()}
    for folder in (tmp_path / "cache").glob("*.damaged-*"):
        shutil.rmtree(folder)
    assert check_artifacts(tmp_path) == 17
    assert measured(tmp_path) == measured(undisturbed)


def test_a_byte_that_flips_during_the_study_is_found_before_use(forge, undisturbed, tmp_path):
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    for folder in (tmp_path / "cache").glob("distill-*"):
        shutil.rmtree(folder)
    code, text = forge.run(
        study_arguments(tmp_path), {"REPRO_FAULT_CACHE": str(tmp_path / "cache")}, patch="a_byte_flips"
    )
    assert (code, "Traceback" in text) == (2, False), text
    assert "rollouts.parquet has changed since it was written" in text
    code, text = forge.run(study_arguments(tmp_path))
    assert code in (0, 1), text
    assert [folder.name[:7] for folder in (tmp_path / "cache").glob("*.damaged-*")] == ["sample-"]
    assert measured(tmp_path) == measured(undisturbed)


def test_a_flipped_bit_in_any_file_of_any_artifact_is_found(undisturbed, tmp_path):
    """A random bit of each file except the record itself."""
    rng = random.Random(8)
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    files = 0
    for folder in (tmp_path / "cache").glob("[a-z]*-*"):
        for file in [path for path in folder.rglob("*") if path.is_file() and path.name != "record.json"]:
            content = file.read_bytes()
            flipped = bytearray(content)
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            file.write_bytes(flipped)
            assert find_damage(folder) == f"{file.relative_to(folder)} has changed since it was written"
            file.write_bytes(content)
            files += 1
        assert find_damage(folder) is None
    assert files > 17 * 2


def test_the_clock_jumps(forge, undisturbed, tmp_path):
    code, text = forge.run(study_arguments(tmp_path), patch="clock_jumps")
    assert code in (0, 1), text
    assert measured(tmp_path) == measured(undisturbed)
    for number, path in enumerate((tmp_path / "cache").rglob("*")):
        os.utime(path, (0, 0) if number % 2 else (4e9, 4e9))
    code, text = forge.run(study_arguments(tmp_path))
    assert code in (0, 1), text
    assert "0 to run" in text
