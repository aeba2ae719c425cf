"""vLLM killed with SIGKILL during a stage: one line with the cause, exit 3, and a second run with the same numbers."""

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
SEPARATE_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
"""vLLM's engine in a separate process, as users may configure it; else it runs in the stage's process."""


def start(out, environment=None):
    arguments = ["evaluate", "toy:qwen3-student", "--task", "toy-bm4", "--items", str(4 * CHUNKS), "--engine", "vllm"]
    arguments += ["--set", "evaluation.batch_sequences=64", "--out", str(out), "--quiet"]
    arguments += ["--set", "evaluation.completions_per_prompt=16"]
    return subprocess.Popen(
        [sys.executable, "-m", "repro.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | (environment or {}),
    )


def result(out):
    (folder,) = (out / "cache").glob("evaluate-*")
    assert (folder / "record.json").is_file()
    completions = [(r.item_id, r.sample, r.token_ids) for r in read_rollouts(folder / "rollouts.parquet")]
    return json.loads((folder / "summary.json").read_text()), completions


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    run = start(out)
    text, _ = run.communicate(timeout=700)
    assert run.returncode == 0, text
    return result(out)


def chunks(out):
    return list((out / "cache" / ".work").glob("evaluate-*/**/chunk-*.parquet"))


def engine_of(driver, separate_process):
    """Return vLLM's separate process, or the stage's process that runs it."""
    children = psutil.Process(driver.pid).children(recursive=True)
    if separate_process:
        return next(child for child in children if "EngineCore" in " ".join([child.name(), *child.cmdline()]))
    return next(child for child in children if "repro.pipeline.stage_process" in child.cmdline())


@pytest.mark.parametrize("separate_process", [False, True], ids=["in the stage's process", "in a separate process"])
def test_a_killed_engine(undisturbed, tmp_path, separate_process):
    environment = SEPARATE_PROCESS if separate_process else {}
    driver = start(tmp_path, environment)
    while len(chunks(tmp_path)) < 2:
        assert driver.poll() is None, driver.stdout.read()
        time.sleep(0.02)
    engine_of(driver, separate_process).send_signal(signal.SIGKILL)
    text, _ = driver.communicate(timeout=300)
    assert driver.returncode == 3, text
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if line.strip()]
    assert "its process was killed" in line
    assert "The same command resumes" in line
    finished = {chunk: os.stat(chunk).st_mtime_ns for chunk in chunks(tmp_path)}
    assert 2 <= len(finished) < CHUNKS
    assert not list((tmp_path / "cache").glob("evaluate-*"))

    again = start(tmp_path, environment)
    seen = set()
    while again.poll() is None:
        for chunk in finished:
            if chunk.exists():
                assert os.stat(chunk).st_mtime_ns == finished[chunk]  # not sampled again
                seen.add(chunk)
        time.sleep(0.2)
    text = again.stdout.read()
    assert again.returncode == 0, text
    assert seen
    assert result(tmp_path) == undisturbed
