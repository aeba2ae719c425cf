"""Drivers that race, interrupts that come twice, stages that give nonsense, workers that die."""

import importlib.util
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
from faults_kit import check_whole, count, measured, study_words

pytestmark = pytest.mark.timeout(3600)
TOKEN = "hf_" + "PlantedByATest0123456789abcdefghij"


def test_drivers_race(forge, undisturbed, tmp_path):
    drivers = [forge.start(study_words(tmp_path)) for _ in range(3)]
    for driver in drivers:
        assert driver.wait() in (0, 1), driver.text()
        assert "Traceback" not in driver.text()
    assert check_whole(tmp_path) == 17
    assert measured(tmp_path) == measured(undisturbed)
    assert not list((tmp_path / "cache").glob("*.damaged-*"))
    assert not list((tmp_path / "cache" / ".building").iterdir())


@pytest.mark.parametrize(("where", "seed"), [("none", 0), ("none", 1), ("local", 2), ("local", 3)])
def test_interrupted_twice(forge, undisturbed, tmp_path, where, seed):
    rng = random.Random(seed)
    driver = forge.start(study_words(tmp_path, where=where))
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
    check_whole(tmp_path)


def test_a_stage_that_gives_not_a_number_leaves_nothing(forge, undisturbed, tmp_path):
    code, text = forge.run(study_words(tmp_path), patch="not_a_number")
    assert (code, "Traceback" in text) == (3, False), text
    assert "evaluate" in text
    assert not list((tmp_path / "cache").glob("evaluate-*"))
    code, text = forge.run(study_words(tmp_path))
    assert code in (0, 1), text
    assert measured(tmp_path) == measured(undisturbed)


@pytest.mark.parametrize("method", ["calibration", "sft", "gkd_fkl", "gkd_rkl"])
def test_training_that_diverges_says_so(forge, tmp_path, method):
    more = [f"{method}.learning_rate=1e30", "calibration.group_size=8", "calibration.prompts_per_step=4"]
    code, text = forge.run(study_words(tmp_path, *(word for one in more for word in ("--set", one))))
    assert (code, "Traceback" in text) == (3, False), text
    assert "not finite" in text
    check_whole(tmp_path)


def holding(folder: Path, secret: str) -> list[Path]:
    """The files below that hold it, as it is or compressed in a Parquet file (whose text columns are read)."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if secret.encode() in file.read_bytes() + texts_of(file)]


def texts_of(file: Path) -> bytes:
    return str(pq.read_table(file).to_pylist()).encode() if file.suffix == ".parquet" else b""


@pytest.mark.parametrize("where", ["none", "local"])
def test_a_planted_token_is_nowhere(forge, undisturbed, tmp_path, where):
    """In the environment, on the command line, in a library's error: never in output, log, record or report."""
    env = {"HF_TOKEN": TOKEN}
    words = study_words(tmp_path, "--set", f"reward_model=lab/{TOKEN}", where=where)
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    for folder in list((tmp_path / "cache").glob("evaluate-*"))[:2]:
        shutil.rmtree(folder)
    if where == "none":
        code, text = forge.run(words, env, patch="tells_the_token")
        assert code == 3, text
        assert "401 for" in text
        assert any("401 for" in log.read_text() for log in (tmp_path / "cache" / ".logs").glob("evaluate-*.log"))
        assert TOKEN not in text
        code, text = forge.run(words, env, patch="has_a_defect")
        assert code == 3, text
        assert "Traceback" in text
        assert "no table for ***" in text
        assert TOKEN not in text
    code, text = forge.run(words, env)
    assert code in (0, 1), text
    assert TOKEN not in text
    assert "reward_model=lab/***" in (tmp_path / "table2-toy" / "results.json").read_text()
    assert holding(tmp_path, TOKEN) == []


SECRET = "Pl4ntedPassw0rd"


@pytest.mark.parametrize(
    "words",
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
def test_a_secret_on_the_command_line_is_not_repeated(forge, tmp_path, words):
    code, text = forge.run(words, cwd=tmp_path)
    assert code == (0 if "--dry-run" in words else 2), text
    assert text.strip()
    assert SECRET not in text
    assert TOKEN not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(7200)
def test_many_studies_in_one_process_stay_small(forge, tmp_path):
    """Memory, handles and threads of one process that runs a study after the other, each into a folder of its own."""
    studies = count("SOAK", 50)
    figures = tmp_path / "figures.jsonl"
    env = {"REPRO_SOAK_FIGURES": str(figures), "REPRO_SOAK_STUDIES": str(studies)}
    words = study_words(tmp_path / "{n}", "--quiet")
    driver = forge.start(words, env, patch="soak")
    seen = 0
    while driver.poll() is None:  # what is done is taken away
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
        grown = settled[-1][name] - settled[0][name]  # one that waits for the garbage collector is no leak
        assert grown <= max(2, len(settled) // 10), [line[name] for line in lines]
    # 0.1 MiB a stage and 17 stages: 20 KiB of it are typer's and importlib's (tracemalloc), the rest is the native heap.
    # One model kept per stage would be ten times that.
    assert slope < 2.5, mib
    assert mib[-1] - mib[0] < 2.5 * len(mib) + 10, mib


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="no vLLM in this environment (nox -s vllm has it)")
def test_a_vllm_worker_that_dies_ends_the_stage(forge, tmp_path):
    words = ["evaluate", "toy:qwen3-student", "--task", "toy-bm4", "--items", "64", "--engine", "vllm"]
    driver = forge.start([*words, "--out", str(tmp_path)])
    worker = None
    while worker is None:
        assert driver.poll() is None, driver.text()
        for process in psutil.Process(driver.pid).children(recursive=True):
            if "EngineCore" in " ".join([process.name(), *process.cmdline()]):
                worker = process
        time.sleep(0.05)
    worker.kill()
    assert driver.wait() == 3, driver.text()
    assert "Traceback" not in driver.text()
    check_whole(tmp_path)
