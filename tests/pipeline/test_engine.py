"""The engine on real stages: cached, isolated, in a race, killed, damaged."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from repro.errors import InputError, StageError
from repro.models.loading import locate
from repro.pipeline import engine
from repro.pipeline.cluster import Execution
from repro.pipeline.engine import is_cached, run_stages
from repro.pipeline.local_jobs import LocalJob
from repro.pipeline.progress_file import progress_path, read_progress
from repro.pipeline.record import build_artifact
from repro.pipeline.run import _print_warnings, prepare_cache, run
from repro.pipeline.run_stage import artifact_lock, run_stage
from repro.planner.resources import Resources
from repro.stages.artifact import CACHE, is_complete
from repro.system.atomic_write import write_json
from repro.workflow.own_models import StageOptions, evaluate_stage

PATIENCE = 300
"""Seconds after which a process counts as left behind, even on a busy machine."""
OPTIONS = StageOptions(tasks=("toy-bm4",), items=6, assignments=("evaluation.batch_sequences=32",))


@pytest.fixture(scope="module")
def stage():
    return evaluate_stage("toy:qwen3-student", OPTIONS)


@pytest.fixture(scope="module")
def undisturbed(stage, tmp_path_factory):
    """The stage's summary from a run in this process."""
    cache = tmp_path_factory.mktemp("undisturbed")
    assert run_stage(stage, cache, Resources()) == {"built": True}
    return json.loads((cache / stage.folder_name / "summary.json").read_text())


def run_quietly(stages, out, workers=1):
    run(stages, out, Execution(Resources(), workers=workers), quiet=True, console=Console(quiet=True))


def summary(out: Path, stage):
    return json.loads((out / CACHE / stage.folder_name / "summary.json").read_text())


@pytest.mark.processes
def test_a_subprocess_gives_the_same_numbers_and_the_second_run_starts_none(stage, undisturbed, tmp_path, monkeypatch):
    run_quietly([stage], tmp_path)
    assert summary(tmp_path, stage) == undisturbed
    record = tmp_path / CACHE / stage.folder_name / "record.json"
    before = record.stat().st_mtime_ns
    monkeypatch.setattr("repro.pipeline.submission.Submission.submit", None)
    monkeypatch.setattr("repro.pipeline.local_jobs.ForkServer", None)
    run_quietly([stage], tmp_path)
    assert record.stat().st_mtime_ns == before
    assert not list((tmp_path / CACHE / ".jobs").iterdir())
    assert not (tmp_path / CACHE / ".work" / stage.folder_name).exists()


def test_answers_whose_grading_reached_a_limit_are_on_the_terminal(stage, tmp_path):
    folder = tmp_path / stage.folder_name
    folder.mkdir()
    terminal = Console(file=io.StringIO())
    for undecided in ({}, {"undecided": 3}):
        write_json(folder / "summary.json", {"toy-bm4": {"acc": 0.5, **undecided}})
        _print_warnings([stage], tmp_path, terminal)
    assert terminal.file.getvalue() == (
        f"warning: {stage.label} (seed 0): undecided: 3 answers could not be graded within the limits (undecided); they score 0:"
        f" {folder}\n"
    )


@pytest.mark.processes
def test_two_drivers_at_once_build_once_and_both_succeed(stage, undisturbed, tmp_path):
    command = [
        *(sys.executable, "-m", "repro.cli", "evaluate", "toy:qwen3-student", "--task", "toy-bm4", "--items", "6"),
        *("--set", "evaluation.batch_sequences=32", "--out", str(tmp_path), "--quiet"),
    ]
    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    outputs = [driver.communicate()[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], outputs
    assert summary(tmp_path, stage) == undisturbed
    assert [f.name for f in (tmp_path / CACHE).iterdir() if f.name.startswith("evaluate")] == [stage.folder_name]


def test_a_damaged_artifact_is_moved_aside_and_rebuilt(stage, undisturbed, tmp_path):
    run_stage(stage, tmp_path, Resources())
    data = tmp_path / stage.folder_name / "rollouts.parquet"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 255
    data.write_bytes(content)
    assert not is_cached(stage, tmp_path)
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    assert run_stage(stage, tmp_path, Resources()) == {"built": True}
    assert json.loads((tmp_path / stage.folder_name / "summary.json").read_text()) == undisturbed


@pytest.mark.load_sensitive
@pytest.mark.processes
def test_a_killed_stage_says_so_and_a_rerun_ends_with_the_same_numbers(stage, undisturbed, tmp_path):
    cache = prepare_cache(tmp_path)

    def kill_when_running(done, running, waiting, failures):
        for running_stage in running:
            os.kill(int(running_stage.job.job_id), signal.SIGKILL)

    # The stage waits for its lock: else it could end before a busy driver kills it.
    with artifact_lock(cache, stage):
        (failure,) = run_stages([stage], cache, execution=Execution(Resources()), on_tick=kill_when_running)
    assert re.search(r"was killed.*same command resumes", str(failure.error))
    assert not is_complete(cache / stage.folder_name)
    run_quietly([stage], tmp_path)
    assert summary(tmp_path, stage) == undisturbed


def test_a_job_that_has_ended_is_not_waited_for(monkeypatch):
    waits = []
    monkeypatch.setattr(engine.time, "sleep", waits.append)
    at_work, ended = (SimpleNamespace(job=SimpleNamespace(has_ended=lambda end=end: end)) for end in (False, True))
    engine._wait_for_an_end([at_work, ended])
    assert waits == []
    engine._wait_for_an_end([at_work], seconds=0.01)
    assert set(waits) == {engine._POLL_SECONDS}


def wait_for_progress(driver: subprocess.Popen[Any], out: Path) -> None:
    """Wait until a stage of the driver is at work in its process."""
    while not list((out / CACHE / ".work").glob("*.progress.json")):
        assert driver.poll() is None
        time.sleep(0.01)


@pytest.mark.load_sensitive
@pytest.mark.processes
def test_a_killed_driver_leaves_no_process_behind(tmp_path):
    command = [
        *(sys.executable, "-m", "repro.cli", "evaluate", "toy:qwen3-student", "--task", "toy-bm4"),
        "--out",
        str(tmp_path),
    ]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_progress(driver, tmp_path)
    children = psutil.Process(driver.pid).children(recursive=True)
    assert set(stage_processes(tmp_path)) <= set(children)
    assert children
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert not alive


def stage_processes(out):
    """Return the processes that work for a driver which writes below `out`."""
    processes = []
    for process in psutil.process_iter(["cmdline"]):
        if any(argument.startswith(str(out / CACHE)) for argument in process.info["cmdline"] or []):
            processes.append(process)
    return processes


@pytest.mark.parametrize("at_work", [False, True], ids=["just submitted", "at work"])
@pytest.mark.load_sensitive
@pytest.mark.processes
def test_an_interrupt_from_a_terminal_is_one_line_and_leaves_no_process(tmp_path, at_work):
    command = [
        *(sys.executable, "-m", "repro.cli", "evaluate", "toy:qwen3-teacher", "--task", "toy-bm4"),
        *("--set", "evaluation.completions_per_prompt=400"),  # minutes: it does not end by itself
        *("--out", str(tmp_path)),
    ]
    driver = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    while not stage_processes(tmp_path):
        assert driver.poll() is None
        time.sleep(0.01)
    if at_work:
        wait_for_progress(driver, tmp_path)
    os.killpg(driver.pid, signal.SIGINT)  # a terminal signals the whole process group
    output, _ = driver.communicate()
    assert driver.returncode == 130
    assert "the same command resumes" in output
    assert "Traceback" not in output
    assert not stage_processes(tmp_path)
    assert not [p for p in (tmp_path / CACHE).iterdir() if p.name.startswith("evaluate")]


@pytest.mark.processes
def test_an_interrupt_during_submission_ends_the_submitted_stage(stage, tmp_path, monkeypatch):
    from repro.pipeline.submission import Submission

    submit = Submission.submit

    def interrupted(*arguments):
        submit(*arguments)
        assert len(stage_processes(tmp_path)) == 2  # the server's and the stage's
        raise KeyboardInterrupt

    monkeypatch.setattr(Submission, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_quietly([stage], tmp_path)
    assert not stage_processes(tmp_path)


@pytest.mark.processes
def test_the_working_directory_does_not_shadow_a_library(stage, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    (folder / "transformers").mkdir(parents=True)
    (folder / "transformers" / "__init__.py").write_text("raise ImportError('shadowed')")
    monkeypatch.chdir(folder)
    run_quietly([stage], tmp_path / "out")
    assert is_complete(tmp_path / "out" / CACHE / stage.folder_name)


def test_a_missing_model_is_refused_before_any_stage(stage, tmp_path):
    missing = evaluate_stage("toy:qwen3-student", OPTIONS).model_copy(
        update={"model": stage.model.model_copy(update={"name": "/nowhere", "revision": "sha256:00"})}
    )
    with pytest.raises(InputError, match="/nowhere"):
        run_quietly([missing], tmp_path)
    assert not (tmp_path / CACHE).exists()


def test_an_error_inside_a_stage_names_the_stage_its_cause_and_its_log(stage, tmp_path, monkeypatch):
    def fail(outcomes):
        raise LookupError("a defect")

    monkeypatch.setattr("repro.evaluation.evaluate.summarise", fail)
    execution = Execution(Resources(), workers=1, backend="none")
    with pytest.raises(StageError) as error:
        run([stage], tmp_path, execution, quiet=True, console=Console(quiet=True))
    log = tmp_path / CACHE / ".logs" / f"{stage.folder_name}.log"
    assert str(error.value) == f"{stage.label}: a defect. Log: {log}. The same command resumes."
    assert "Traceback" in log.read_text()
    assert not is_complete(tmp_path / CACHE / stage.folder_name)


def test_a_stage_refuses_a_missing_or_damaged_input(tmp_path):
    from repro.recipes.catalog import plan

    study = plan("table2", scale="toy", seeds=1)
    improve = next(row.stage for row in study.rows if row.method == "Improve")
    with pytest.raises(RuntimeError, match="left no record"):
        run_stage(improve, tmp_path, Resources())
    (student,) = improve.inputs()
    build_artifact(student, tmp_path, lambda folder: {"steps": 1}, argv=[])
    (tmp_path / student.folder_name / "summary.json").write_text("{}")
    outcome = run_stage(improve, tmp_path, Resources())
    assert f"{student.folder_name}: summary.json has changed" in outcome["input_error"]
    assert not is_complete(tmp_path / improve.folder_name)


def test_progress_is_reported_through_a_file(stage, tmp_path):
    from repro.pipeline.progress_file import FileProgress

    (tmp_path / ".work").mkdir()
    path = progress_path(tmp_path, stage)
    assert read_progress(path) is None
    FileProgress(path)(3, 10, "prompts", "loss 1.0")
    assert read_progress(path) == {"done": 3, "total": 10, "unit": "prompts", "note": "loss 1.0"}
    path.write_text("{")
    assert read_progress(path) is None


def test_a_full_disk_is_one_clear_line(stage, tmp_path, monkeypatch):
    import repro.pipeline.record as record

    def full(path, content):
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(record, "write_json", full)
    outcome = run_stage(stage, tmp_path, Resources())
    assert "No space left on device" in outcome["input_error"]
    assert not is_complete(tmp_path / stage.folder_name)
    assert list((tmp_path / ".building").iterdir()) == []


def test_what_a_killed_process_had_half_built_does_not_stay(stage, tmp_path, monkeypatch):
    import repro.pipeline.run_stage as module

    stale = tmp_path / ".building" / f"{stage.folder_name}.123"
    of_another_stage = tmp_path / ".building" / "sample-0000000000000000.123"
    for folder in (stale / "model", of_another_stage):
        folder.mkdir(parents=True)
    monkeypatch.setattr(module, "is_complete", lambda folder: True)
    assert run_stage(stage, tmp_path, Resources()) == {"built": False}
    assert list((tmp_path / ".building").iterdir()) == [of_another_stage]


@pytest.mark.parametrize("out", ["/proc/nothing/here", "file/below", os.fsdecode(b"r\xfc")])
def test_an_unwritable_output_folder(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"output folder .* --out FOLDER"):
        prepare_cache(Path(out))


def test_base_models_must_still_be_what_the_plan_saw(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(locate("toy:qwen3-student"), folder)
    planned = evaluate_stage(str(folder), OPTIONS)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    outcome = run_stage(planned, tmp_path / "cache", Resources())
    assert "has changed since this run was planned" in outcome["input_error"]


def test_data_must_still_be_what_the_plan_saw(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"question": "{i} + 1?", "answer": "#### {i + 1}"}}\n' for i in range(40)))
    options = StageOptions(tasks=("gsm8k",), data=rows, items=2)
    planned = evaluate_stage("toy:qwen3-student", options)
    rows.write_text(rows.read_text().replace("#### 5", "#### 6"))
    outcome = run_stage(planned, tmp_path / "cache", Resources())
    assert "has changed since this run was planned" in outcome["input_error"]


def test_a_nearly_full_disk_is_refused_before_any_work(tmp_path, monkeypatch):
    import repro.pipeline.run as module

    usage = shutil.disk_usage(tmp_path)._replace(free=5 << 20)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"no space left on device \(5.0 MiB free"):
        prepare_cache(tmp_path)


def test_the_backend_none_gives_the_same_numbers(stage, undisturbed, tmp_path):
    run([stage], tmp_path, Execution(Resources(), workers=3, backend="none"), quiet=True, console=Console(quiet=True))
    assert summary(tmp_path, stage) == undisturbed


@pytest.mark.parametrize("backend", ["none", pytest.param("local", marks=pytest.mark.processes)])
def test_a_stage_that_fails_names_its_cause_and_its_log(stage, tmp_path, monkeypatch, backend):
    wrong = stage.model_copy(
        update={"data": (stage.data[0].model_copy(update={"task": "toy-bm4", "split": "nosuch"}),)}
    )
    execution = Execution(Resources(), workers=1, backend=backend)
    with pytest.raises(StageError) as error:
        run([wrong], tmp_path, execution, quiet=True, console=Console(quiet=True))
    log = tmp_path / CACHE / ".logs" / f"{wrong.folder_name}.log"
    message = str(error.value)
    assert message.startswith(f"{wrong.label}: ")
    assert "Input should be 'train', 'test' or 'all'" in message
    assert f"Log: {log}." in message
    assert "Traceback" in log.read_text()
    assert "nosuch" in log.read_text()


def test_a_damaged_artifact_stays_while_another_driver_works_on_it(stage, tmp_path):
    from repro.pipeline.run_stage import artifact_lock

    run_stage(stage, tmp_path, Resources())
    (tmp_path / stage.folder_name / "summary.json").write_text("{}")
    with artifact_lock(tmp_path, stage):
        assert not is_cached(stage, tmp_path)
        assert not list(tmp_path.glob("*.damaged-*"))
    assert not is_cached(stage, tmp_path)
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_an_input_whose_bytes_changed_is_refused(tmp_path):
    from repro.pipeline.run_stage import verify_input

    stage = evaluate_stage("toy:qwen3-student", OPTIONS)
    run_stage(stage, tmp_path, Resources())
    folder = tmp_path / stage.folder_name
    verify_input(folder)
    (folder / "summary.json").write_text("{}")
    with pytest.raises(InputError, match=r"summary\.json has changed.*moved aside"):
        verify_input(folder)


def test_folders_of_dead_drivers_are_removed_and_others_are_kept(stage, tmp_path):
    import platform

    from repro.pipeline.submission import driver_folder

    base = tmp_path / ".jobs"
    others = [f"elsewhere-{2**22 + 1}", "notes", f"{platform.node()}-{os.getppid()}"]
    for name in (f"{platform.node()}-{2**22 + 1}", *others):
        (base / name).mkdir(parents=True)
    with driver_folder(tmp_path):
        pass
    assert sorted(folder.name for folder in base.iterdir()) == sorted(others)


def test_a_stage_has_ended_when_its_process_has_left_and_not_when_its_result_is_there(tmp_path):
    """Only then are its GPUs free: a process lets go of a GPU as it exits."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        job = LocalJob(tmp_path, process)
        write_json(tmp_path / "outcome.json", {"built": True})
        assert not job.has_ended()
        process.communicate(b"\n")
        assert job.has_ended()


def test_a_stage_in_the_drivers_process_leaves_the_gpu_to_the_next(student, tmp_path, monkeypatch):
    """Its models are in reference cycles, and torch keeps their memory."""
    options = StageOptions(tasks=("toy-bm4",), items=2, assignments=("evaluation.completions_per_prompt=2",))
    stage = evaluate_stage(str(student), options)
    freed = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("repro.pipeline.run_stage.visible_cards", lambda gpus: None)
    monkeypatch.setattr("repro.pipeline.run_stage.free_gpu_memory", lambda: freed.append(is_built(stage, tmp_path)))
    run_stage(stage, tmp_path, Resources())
    assert freed == [True]


def is_built(stage, cache):
    return is_complete(cache / stage.folder_name)
