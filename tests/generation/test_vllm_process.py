"""vLLM in a process of its own, as a stand-in: equal completions, errors with their cause, and no process left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from generation import stub_vllm
from tiny_models import save_qwen

from repro.errors import InputError
from repro.generation import engine as engines
from repro.generation import vllm_process
from repro.generation.vllm_process import EngineError, VllmProcess
from repro.pipeline.error_advice import memory_advice
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.workflow.own_models import StageOptions, evaluate_stage

pytestmark = pytest.mark.processes
PROMPTS = [[5, 6, 7, 8], [900, 4], [1, 2, 3]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_qwen(tmp_path_factory.mktemp("model") / "model", hidden=16, seed=1)


def started(monkeypatch, tmp_path, folder, fault=""):
    stub_vllm.install(monkeypatch, tmp_path / "stub", fault)
    return contextlib.closing(VllmProcess(folder, 64))


def sample_once(monkeypatch, tmp_path, folder, fault):
    with started(monkeypatch, tmp_path, folder, fault) as engine:
        return engine.generate(PROMPTS, 1, 3, 1.0, seed=0)


def processes(engine):
    below = psutil.Process(engine._process.pid)
    return [below, *below.children(recursive=True)]


def gone(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


PATIENCE = 300
"""Seconds after which a process counts as left behind, even on a busy machine."""


def wait_until_gone(left):
    deadline = time.monotonic() + PATIENCE
    while not all(map(gone, left)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return all(map(gone, left))


def test_completions_arrive_in_order_with_every_bit_and_closing_leaves_no_process(monkeypatch, tmp_path, folder):
    with started(monkeypatch, tmp_path, folder) as engine:
        groups = engine.generate(PROMPTS, 2, 3, 1.0, seed=4)
        left = processes(engine)
        assert len(left) == 2  # and its worker
        assert engine.generate(PROMPTS, 2, 3, 1.0, seed=4) == groups
    assert engine._process.returncode == 0
    assert all(map(gone, left))
    engine.close()  # twice does no harm
    assert [len(group) for group in groups] == [2, 2, 2]
    seeds = iter(range(4 * 1_000_003, 4 * 1_000_003 + 6))
    for prompt, group in zip(PROMPTS, groups):
        for completion in group:
            seed = next(seeds)
            assert completion.token_ids == [(token + seed) % 100 for token in prompt][:3]
            assert completion.log_probs == [-1 / (token + 3) for token in completion.token_ids]
            assert completion.stop == ("eos" if seed % 2 else "length")


@pytest.mark.parametrize(
    ("fault", "when", "text"),
    [
        ("bad weights", "at the start", "ValueError: no weight lm_head"),
        ("out of memory", "at the start", "ValueError: engine core"),
        ("no memory", "while sampling", "MemoryError: out of memory"),
        ("exit", "while sampling", r"ended without an answer \(exit 7\)"),
    ],
)
def test_an_error_is_the_callers_error_and_leaves_no_process(monkeypatch, tmp_path, folder, fault, text, when, capfd):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(EngineError, match=text) as raised:
        sample_once(monkeypatch, tmp_path, folder, f"{fault} {when}")
    stage = evaluate_stage(str(folder), StageOptions(tasks=("toy-bm4",), items=2))
    advice = memory_advice(raised.value, stage, Resources())
    assert (advice is not None) == ("memory" in fault)
    if fault != "exit":
        assert "Traceback" in capfd.readouterr().err  # the log has it
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


@pytest.mark.load_sensitive
def test_a_start_that_hangs_is_an_error_and_leaves_no_process(monkeypatch, tmp_path, folder):
    class Clock:
        """Hours pass once the engine hangs."""

        sleep = staticmethod(time.sleep)

        @staticmethod
        def monotonic():
            return time.monotonic() + 2 * vllm_process.START_SECONDS * (tmp_path / "stub/vllm/hanging").exists()

    monkeypatch.setattr(vllm_process, "time", Clock)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(EngineError, match="did not start within 7200 s"):
        sample_once(monkeypatch, tmp_path, folder, "hang at the start")
    assert (tmp_path / "stub/vllm/hanging").exists()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_a_workers_error_is_the_cause_of_a_failed_start(monkeypatch, tmp_path, folder, capfd):
    """vLLM says it in the log of the worker, and raises an error without it."""
    with pytest.raises(EngineError, match=r"^torch\.OutOfMemoryError: CUDA out of memory") as raised:
        sample_once(monkeypatch, tmp_path, folder, "worker out of memory at the start")
    stage = evaluate_stage(str(folder), StageOptions(tasks=("toy-bm4",), items=2))
    assert "out of memory. Try: " in memory_advice(raised.value, stage, Resources())
    assert "(Worker_TP0 pid=3) ERROR 11-24" in capfd.readouterr().err  # the log has it


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("worker dies with an error", "RuntimeError: CUDA error: an illegal memory access"),
        ("worker dies", "its log has no error; the system kills processes when the machine's memory is full"),
    ],
)
def test_an_engine_that_ended_because_a_worker_did_was_not_killed(monkeypatch, tmp_path, folder, fault, cause):
    with pytest.raises(EngineError) as raised:
        sample_once(monkeypatch, tmp_path, folder, fault)
    assert str(raised.value) == f"one of vLLM's worker processes ended: {cause}"


def test_a_killed_engine_is_named_as_such(monkeypatch, tmp_path, folder):
    with started(monkeypatch, tmp_path, folder, "hang") as engine:
        left = processes(engine)
        os.kill(engine._process.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"was killed \(SIGKILL\)"):
            engine.generate(PROMPTS, 1, 3, 1.0, seed=0)
    assert all(map(gone, left))  # its worker, too


@pytest.mark.parametrize("fault", ["bad weights at the end", "hang at the end"])
def test_an_engine_that_does_not_end_by_itself_is_ended(monkeypatch, tmp_path, folder, fault):
    monkeypatch.setattr(vllm_process, "CLOSE_SECONDS", 3.0)
    with started(monkeypatch, tmp_path, folder, fault) as engine:
        groups = engine.generate(PROMPTS, 1, 3, 1.0, seed=0)
        left = processes(engine)
    assert len(groups) == 3
    assert all(map(gone, left))


@pytest.mark.parametrize("fault", ["", "hang"], ids=["idle", "busy"])
@pytest.mark.load_sensitive
def test_a_killed_stage_leaves_no_engine_behind(monkeypatch, tmp_path, folder, fault):
    stub_vllm.install(monkeypatch, tmp_path / "stub", fault)
    script = (
        "import sys, time\n"
        "from repro.generation.vllm_process import VllmProcess\n"
        f"engine = VllmProcess({str(folder)!r}, 64)\n"
        "print('ready', flush=True)\n"
        f"engine.generate({PROMPTS}, 1, 3, 1.0, seed=0)\n"
        "time.sleep(600)\n"
    )
    stage = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert stage.stdout.readline() == "ready\n"
    time.sleep(1)
    left = psutil.Process(stage.pid).children(recursive=True)
    assert len(left) == 2
    stage.kill()
    stage.wait()
    stage.stdout.close()
    assert wait_until_gone(left)


@pytest.mark.load_sensitive
def test_an_interrupt_while_it_samples_kills_it(monkeypatch, tmp_path, folder):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(vllm_process, "CLOSE_SECONDS", 2.0 * PATIENCE)  # which an interrupt does not wait for
    stub_vllm.install(monkeypatch, tmp_path / "stub", "hang")
    engine = VllmProcess(folder, 64)
    left = processes(engine)
    monkeypatch.setattr(engine, "_receive", interrupt)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), contextlib.closing(engine):
        engine.generate(PROMPTS, 1, 3, 1.0, seed=0)
    assert time.monotonic() - start < PATIENCE
    assert all(map(gone, left))


def test_the_log_says_how_much_memory_is_free(monkeypatch, tmp_path, folder, capfd):
    readings = iter([{"GPU 0": 78.66}, {"GPU 0": 5.91}, {"GPU 0": 78.4}])
    monkeypatch.setattr(vllm_process, "free_gib", lambda: next(readings))
    with started(monkeypatch, tmp_path, folder):
        pass
    printed = capfd.readouterr().err
    assert "free GPU memory around vLLM: GPU 0 78.7 GiB before, 78.4 after\n" in printed
    readings = iter([{"GPU 0": 78.66}, *[{"GPU 0": 5.91}] * 99])
    monkeypatch.setattr(vllm_process, "FREED_SECONDS", 0.6)
    with started(monkeypatch, tmp_path, folder):
        pass
    assert "GPU 0 78.7 GiB before, 5.9 after (less: another program" in capfd.readouterr().err


def test_without_vllm_the_user_learns_what_to_install(monkeypatch, tmp_path, folder):
    (tmp_path / "stub" / "vllm").mkdir(parents=True)
    (tmp_path / "stub" / "vllm" / "__init__.py").write_text("raise ImportError('no vllm')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "stub"), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(InputError, match="install the extra `cpu` or `gpu`"):
        VllmProcess(folder, 64)


def test_a_stage_reports_the_engines_error_as_advice(monkeypatch, tmp_path, folder):
    monkeypatch.setattr(engines, "_needs_process", lambda: True)
    assignments = ("evaluation.completions_per_prompt=2", "engine=vllm")
    stage = evaluate_stage(str(folder), StageOptions(tasks=("toy-bm4",), items=2, assignments=assignments))
    for fault, text in {
        "no memory while sampling": "out of memory. Try: ",
        "bad weights at the start": "ValueError: no weight lm_head in the checkpoint",
    }.items():
        stub_vllm.install(monkeypatch, tmp_path / "stub", fault)
        result = run_stage(stage, tmp_path / "cache", Resources())
        assert result["stage_error"].startswith(text), result
    assert not (tmp_path / "cache" / stage.folder_name).exists()
    assert not [child for child in psutil.Process().children(recursive=True) if "vllm_child" in str(child.cmdline())]
    stub_vllm.install(monkeypatch, tmp_path / "stub")
    assert json.dumps(run_stage(stage, tmp_path / "cache", Resources())) == '{"built": true}'
