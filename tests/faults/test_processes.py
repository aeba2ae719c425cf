"""Drivers in a race, repeated interrupts, stages that return NaN, workers that die."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from faults_kit import check_artifacts, count, measured, study_arguments

pytestmark = pytest.mark.timeout(3600)
TOKEN = "hf_" + "PlantedByATest0123456789abcdefghij"


def test_drivers_race(forge, undisturbed, tmp_path):
    drivers = [forge.start(study_arguments(tmp_path)) for _ in range(3)]
    for driver in drivers:
        assert driver.wait() in (0, 1), driver.text()
        assert "Traceback" not in driver.text()
    assert check_artifacts(tmp_path) == 17
    assert measured(tmp_path) == measured(undisturbed)
    assert not list((tmp_path / "cache").glob("*.damaged-*"))
    assert not list((tmp_path / "cache" / ".building").iterdir())


@pytest.mark.parametrize(("backend", "seed"), [("none", 0), ("none", 1), ("local", 2), ("local", 3)])
def test_interrupted_twice(forge, undisturbed, tmp_path, backend, seed):
    rng = random.Random(seed)
    driver = forge.start(study_arguments(tmp_path, backend=backend))
    while not (tmp_path / "cache" / ".locks").exists():
        assert driver.poll() is None, driver.text()
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 2))
    children = psutil.Process(driver.pid).children(recursive=True)
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(rng.uniform(0, 0.3))
    if driver.poll() is None:
        os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait() == 130, driver.text()
    assert "Traceback" not in driver.text()
    assert "the same command resumes" in driver.text()
    _, alive = psutil.wait_procs(children, timeout=300)
    assert not alive
    check_artifacts(tmp_path)


def test_a_stage_that_returns_nan_leaves_nothing(forge, undisturbed, tmp_path):
    code, text = forge.run(study_arguments(tmp_path), patch="not_a_number")
    assert (code, "Traceback" in text) == (3, False), text
    assert "evaluate" in text
    assert not list((tmp_path / "cache").glob("evaluate-*"))
    code, text = forge.run(study_arguments(tmp_path))
    assert code in (0, 1), text
    assert measured(tmp_path) == measured(undisturbed)


@pytest.mark.parametrize("method", ["calibration", "sft", "gkd_fkl", "gkd_rkl"])
def test_training_that_diverges_says_so(forge, tmp_path, method):
    settings = [f"{method}.learning_rate=1e30", "calibration.group_size=8", "calibration.prompts_per_step=4"]
    code, text = forge.run(
        study_arguments(tmp_path, *(argument for setting in settings for argument in ("--set", setting)))
    )
    assert (code, "Traceback" in text) == (3, False), text
    assert "not finite" in text
    check_artifacts(tmp_path)


def files_with(secret: str, folder: Path) -> list[Path]:
    """Return the files below the folder that contain the secret, plain or in a Parquet file (whose columns are read)."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if secret.encode() in file.read_bytes() + parquet_text(file)]


def parquet_text(file: Path) -> bytes:
    return str(pq.read_table(file).to_pylist()).encode() if file.suffix == ".parquet" else b""


@pytest.mark.parametrize("backend", ["none", "local"])
def test_a_planted_token_appears_nowhere(forge, undisturbed, tmp_path, backend):
    """From the environment, the command line or a library's error, it never reaches output, log, record or report."""
    env = {"HF_TOKEN": TOKEN}
    arguments = study_arguments(tmp_path, "--set", f"reward_model=lab/{TOKEN}", backend=backend)
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    for folder in list((tmp_path / "cache").glob("evaluate-*"))[:2]:
        shutil.rmtree(folder)
    if backend == "none":
        code, text = forge.run(arguments, env, patch="error_with_the_token")
        assert code == 3, text
        assert "401 for" in text
        assert any("401 for" in log.read_text() for log in (tmp_path / "cache" / ".logs").glob("evaluate-*.log"))
        assert TOKEN not in text
        code, text = forge.run(arguments, env, patch="internal_error")
        assert code == 3, text
        assert "Traceback" in text
        assert "no table for ***" in text
        assert TOKEN not in text
    code, text = forge.run(arguments, env)
    assert code in (0, 1), text
    assert TOKEN not in text
    assert "reward_model=lab/***" in (tmp_path / "table2-toy" / "results.json").read_text()
    assert files_with(TOKEN, tmp_path) == []


SECRET = "Pl4ntedPassw0rd"


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "toy:qwen3-student", "--task", "gsm8k", "--data", f"https://me:{SECRET}@host.example/rows.jsonl"],
        ["evaluate", f"https://me:{SECRET}@host.example/model"],
        ["calibrate", "toy:qwen3-teacher", "--eta", "1", "--target", f"https://host.example/m?token={SECRET}"],
        ["run", "table2", "--scale", "toy", "--set", f"password={SECRET}"],
        ["run", f"api_key={SECRET}"],
        ["run", "table2", "--scale", "toy", "--dry-run", "--set", f"reward_model=lab/{TOKEN}"],
        ["run", "table2", "--scale", "toy", "--set", f"reward_model={TOKEN}"],
        ["run", "table2", "--scale", "toy", "--family", TOKEN],
        ["evaluate", "toy:qwen3-student", "--task", TOKEN],
        ["show", f"https://{SECRET}@host.example/result"],
        ["report", f"https://me:{SECRET}@host.example/result"],
    ],
)
def test_a_secret_on_the_command_line_is_not_repeated(forge, tmp_path, arguments):
    code, text = forge.run(arguments, cwd=tmp_path)
    assert code == (0 if "--dry-run" in arguments else 2), text
    assert text.strip()
    assert SECRET not in text
    assert TOKEN not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(7200)
def test_many_studies_in_one_process_stay_small(forge, tmp_path):
    """Memory, handles and threads of one process that runs studies one after another, each into a new folder."""
    studies = count("SOAK", 50)
    figures = tmp_path / "figures.jsonl"
    env = {"REPRO_SOAK_FIGURES": str(figures), "REPRO_SOAK_STUDIES": str(studies)}
    arguments = study_arguments(tmp_path / "{n}", "--quiet")
    driver = forge.start(arguments, env, patch="soak")
    seen = 0
    while driver.poll() is None:  # finished studies are removed
        time.sleep(0.2)
        while (tmp_path / str(seen + 1)).exists():
            shutil.rmtree(tmp_path / str(seen), ignore_errors=True)
            seen += 1
    lines = [json.loads(line) for line in figures.read_text().splitlines()]
    assert len(lines) == studies, driver.text()[-2000:]
    assert {line["code"] for line in lines} <= {0, 1}
    settled = lines[min(10, studies // 3) :]
    mib = np.array([line["rss"] for line in settled]) / 2**20
    slope = np.polyfit(np.arange(len(mib)), mib, 1)[0]
    print(
        f"{studies} studies: {lines[0]['rss'] / 2**20:.0f} MiB, then {mib[0]:.0f} to {mib[-1]:.0f} ({slope:+.2f} a study)"
    )
    for name in ("files", "threads", "children"):
        grown = settled[-1][name] - settled[0][name]  # an object that awaits garbage collection is not a leak
        assert grown <= max(2, len(settled) // 10), [line[name] for line in lines]
    # 0.1 MiB a stage and 17 stages: 20 KiB of it are typer's and importlib's (tracemalloc), the rest is the native heap.
    # One model kept per stage would be ten times that.
    assert slope < 2.5, mib
    assert mib[-1] - mib[0] < 2.5 * len(mib) + 10, mib
