"""vLLM killed with -9 in the middle of a stage: one line with the cause, exit 3, and a second run with the same numbers."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from repro.generation.rollouts import read_rollouts

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (extra cpu or gpu)"),
    pytest.mark.timeout(1500),
]
CHUNKS = 12
OWN_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
"""vLLM's engine as a process of its own, as a person may ask for it; else it lives in the stage's."""


def start(out, environment=None):
    words = ["evaluate", "toy:qwen3-student", "--task", "toy-bm4", "--items", str(4 * CHUNKS), "--engine", "vllm"]
    words += ["--set", "evaluation.batch_sequences=64", "--out", str(out), "--quiet"]
    words += ["--set", "evaluation.completions_per_prompt=16"]
    return subprocess.Popen(
        [sys.executable, "-m", "repro.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | (environment or {}),
    )


def result(out):
    (folder,) = (out / "cache").glob("evaluate-*")
    assert (folder / "record.json").is_file()
    drawn = [(r.item_id, r.sample, r.token_ids) for r in read_rollouts(folder / "rollouts.parquet")]
    return json.loads((folder / "summary.json").read_text()), drawn


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    run = start(out)
    text, _ = run.communicate(timeout=700)
    assert run.returncode == 0, text
    return result(out)


def chunks(out):
    return list((out / "cache" / ".work").glob("evaluate-*/**/chunk-*.parquet"))


def engine_of(driver, own_process):
    """vLLM's own process, or the stage's that holds it."""
    children = psutil.Process(driver.pid).children(recursive=True)
    if own_process:
        return next(one for one in children if "EngineCore" in " ".join([one.name(), *one.cmdline()]))
    return next(one for one in children if "submitit.core._submit" in one.cmdline())


@pytest.mark.parametrize("own_process", [False, True], ids=["in the stage's process", "a process of its own"])
def test_a_killed_engine(undisturbed, tmp_path, own_process):
    environment = OWN_PROCESS if own_process else {}
    driver = start(tmp_path, environment)
    while len(chunks(tmp_path)) < 2:
        assert driver.poll() is None, driver.stdout.read()
        time.sleep(0.02)
    engine_of(driver, own_process).send_signal(signal.SIGKILL)
    text, _ = driver.communicate(timeout=300)
    assert driver.returncode == 3, text
    assert "Traceback" not in text
    (line,) = [one for one in text.splitlines() if one.strip()]
    assert "its process was killed" in line
    assert "The same command resumes" in line
    drawn = {chunk: os.stat(chunk).st_mtime_ns for chunk in chunks(tmp_path)}
    assert 2 <= len(drawn) < CHUNKS
    assert not list((tmp_path / "cache").glob("evaluate-*"))

    again = start(tmp_path, environment)
    seen = set()
    while again.poll() is None:
        for chunk in drawn:
            if chunk.exists():
                assert os.stat(chunk).st_mtime_ns == drawn[chunk]  # not drawn again
                seen.add(chunk)
        time.sleep(0.2)
    text = again.stdout.read()
    assert again.returncode == 0, text
    assert seen
    assert result(tmp_path) == undisturbed
