"""Stages that the pipeline starts on two processes: the numbers of one."""

import json
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from rich.console import Console

from repro.pipeline.cluster import Execution
from repro.pipeline.distributed import TORCHRUN, _read_answers, distributed_function
from repro.pipeline.error_advice import WorkerError
from repro.pipeline.run import run
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages import Diagnose, topological_order
from repro.stages.artifact import CACHE

SETTINGS = [
    *("calibration.steps=2", "calibration.prompts_per_step=4", "calibration.group_size=4"),
    *(f"{m}.{s}" for m in ("sft", "gkd_fkl", "gkd_rkl") for s in ("steps=3", "sequences_per_step=8")),
    *("train_items=8", "test_items=6", "controls=false", "tasks=toy-bm4", "evaluation.batch_sequences=8"),
    *("evaluation.completions_per_prompt=4", "teacher_sampling.completions_per_prompt=4"),
]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_ranks_give_the_numbers_of_one(tmp_path):
    """Generation to the last token, off-policy losses to 5 digits; on-policy stages sample other completions.

    With sharded models, everything equals two ranks with unsharded ones; the record says which it was, the stage's name
    does not.
    """
    rows = plan("table2", scale="toy", seeds=1, assignments=SETTINGS).rows
    stages = {row.method: row.stage for row in rows}
    chosen = topological_order(stages[name] for name in ("Student", "SFT", "GKD-FKL", "GKD-RKL", "Undistillable"))
    layouts = {1: Resources(), 2: Resources(ranks=2), "sharded ranks": Resources(ranks=2, shard="always")}
    for name, resources in layouts.items():
        execution = Execution(resources, backend="none")
        run(chosen, tmp_path / str(name), execution, console=Console(quiet=True), quiet=True)

    def of(ranks, stage, file):
        return tmp_path / str(ranks) / CACHE / stage.folder_name / file

    for name in ("Student",):
        assert of(1, stages[name], "summary.json").read_text() == of(2, stages[name], "summary.json").read_text()
    sample = next(stage for stage in chosen if stage.kind == "sample")
    from repro.generation.rollouts import read_rollouts

    assert read_rollouts(of(1, sample, "rollouts.parquet")) == read_rollouts(of(2, sample, "rollouts.parquet"))
    for name in ("SFT", "GKD-FKL"):
        single, double = (
            [json.loads(line)["loss"] for line in of(n, stages[name].model, "history.jsonl").read_text().splitlines()]
            for n in (1, 2)
        )
        print(name, single, double)
        assert len(single) == 3
        assert double == pytest.approx(single, rel=1e-5)
    for stage in (stages["GKD-RKL"].model, stages["Undistillable"].model):
        assert len(of(2, stage, "history.jsonl").read_text().splitlines()) == stage.config.steps
        assert json.loads(of(2, stage, "record.json").read_text())["ranks"] == 2
        record, sharded = (json.loads(of(n, stage, "record.json").read_text()) for n in (2, "sharded ranks"))
        assert (record["sharded"], sharded["sharded"]) == (False, True)
        assert sharded["fingerprint"] == record["fingerprint"] == stage.fingerprint
    for stage in chosen:
        if stage.kind in ("calibrate", "distill"):
            rows = [
                [figures(line) for line in of(n, stage, "history.jsonl").read_text().splitlines()]
                for n in (2, "sharded ranks")
            ]
            assert all(b == pytest.approx(a, rel=1e-4, abs=1e-6, nan_ok=True) for a, b in zip(*rows, strict=True))


def figures(line):
    """Return a step's figures; NaN where it has none."""
    return {name: float("nan") if value is None else value for name, value in json.loads(line).items()}


@pytest.mark.slow
def test_a_failing_rank_fails_the_stage(tmp_path):
    """A mistake of the user in a worker is reported as one."""
    from repro.errors import InputError
    from repro.pipeline.context import make_context
    from repro.progress import silent
    from repro.stages import Sample

    stage = next(
        s for s in plan("table2", scale="toy", seeds=1, assignments=SETTINGS).stages() if isinstance(s, Sample)
    )
    work = tmp_path / "work"
    work.mkdir()
    resources = Resources(ranks=2, tensor_parallel=1, checkpoint_every=0)
    context = make_context(tmp_path, work, silent, resources)
    without_model = stage.model_copy(update={"model": stage.model.model_copy(update={"name": "/nowhere"})})
    with pytest.raises(InputError, match="/nowhere"):
        distributed_function(without_model, context)(tmp_path)


DIAGNOSIS = [
    *("test_items=6", "evaluation.batch_sequences=8", "evaluation.completions_per_prompt=4"),
    *("evaluation.max_completion_tokens=32", "diagnosis.contribution_blocks=3", "diagnosis.gradient_prompts=2"),
]
RUN = f"""
import sys
from pathlib import Path
from rich.console import Console
from repro.pipeline.cluster import Execution
from repro.pipeline.run import run
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages import topological_order
rows = plan("table1", scale="toy", families=("qwen3",), seeds=1, assignments={DIAGNOSIS}).rows
execution = Execution(Resources(ranks=int(sys.argv[2])), backend="none")
run(topological_order([rows[0].stage]), Path(sys.argv[1]), execution, console=Console(quiet=True), quiet=True)
"""


def start(out, ranks):
    return subprocess.Popen([sys.executable, "-c", RUN, str(out), str(ranks)])


@pytest.fixture(scope="module")
def diagnosis():
    rows = plan("table1", scale="toy", families=("qwen3",), seeds=1, assignments=DIAGNOSIS).rows
    stage = rows[0].stage
    assert isinstance(stage, Diagnose)
    return stage


def record(out, stage):
    return json.loads((out / CACHE / stage.folder_name / "record.json").read_text())


@pytest.mark.slow
def test_a_diagnosis_on_two_ranks_has_the_bytes_of_one_and_resumes_after_a_kill(diagnosis, tmp_path):
    """The driver and both ranks are killed in the middle; the next run keeps the parts that they had finished."""
    assert len(list(topological_order([diagnosis]))) == 3
    assert start(tmp_path / "one", 1).wait() == 0
    shared = tmp_path / "two"
    driver = start(shared, 2)
    work = shared / CACHE / ".work" / diagnosis.folder_name
    while len(finished := list(work.glob("parts/*.npz"))) < 3:
        assert driver.poll() is None, "ended before it could be killed"
        time.sleep(0.02)
    workers = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    psutil.wait_procs(workers, timeout=60)
    stamps = {path: path.stat().st_mtime_ns for path in finished}
    assert not (shared / CACHE / diagnosis.folder_name).exists()
    driver = start(shared, 2)
    changed = set()
    while driver.poll() is None:
        changed |= {path for path, stamp in stamps.items() if path.exists() and path.stat().st_mtime_ns != stamp}
        time.sleep(0.02)
    assert driver.returncode == 0
    assert not changed
    one, two = record(tmp_path / "one", diagnosis), record(shared, diagnosis)
    assert two["files"] == one["files"]
    assert (one["ranks"], two["ranks"], one["fingerprint"]) == (1, 2, two["fingerprint"])
    assert not work.exists()


RANK = "import torch.distributed as d; d.init_process_group('gloo'); d.barrier(); d.destroy_process_group()"


@pytest.mark.load_sensitive
@pytest.mark.processes
def test_ranks_find_each_other_on_a_machine_whose_name_cannot_be_resolved(tmp_path):
    """A container without a network, or a node that is in no name service: they waited for ten minutes."""
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname no-such-name && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*renamed, "true"], capture_output=True).returncode:
        pytest.skip("this user may not rename a machine (unshare --uts)")
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    command = [*renamed, sys.executable, *TORCHRUN, "--nproc_per_node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


ENDING_RANK = """
import os, sys, time
if os.environ["RANK"] == "1":
    os.kill(os.getpid(), int(sys.argv[1])) if int(sys.argv[1]) else sys.exit(3)
time.sleep(600)
"""


@pytest.mark.processes
@pytest.mark.load_sensitive
@pytest.mark.parametrize(("ended_by", "exit_code"), [(signal.SIGKILL, 137), (signal.SIGSEGV, 139), (0, 1)])
def test_the_launchers_exit_code_tells_the_signal_that_ended_a_rank(tmp_path, ended_by, exit_code):
    """torchrun returns 1 for all of them, and then ends the other rank with SIGTERM."""
    script = tmp_path / "rank.py"
    script.write_text(ENDING_RANK)
    command = [sys.executable, *TORCHRUN, "--nproc_per_node=2", str(script), str(int(ended_by))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == exit_code, done.stderr
    assert "Root Cause" in done.stderr


@pytest.mark.parametrize(
    ("exit_codes", "kind", "message"),
    [
        ([-9], WorkerError, r"one of 2 processes was killed \(SIGKILL\).*memory is full.*--ranks"),
        ([-15, -9], WorkerError, r"was killed \(SIGKILL\)"),
        ([-15, -11], RuntimeError, "one of 2 processes was ended by SIGSEGV"),
        ([1, -15], RuntimeError, r"ended with an error \(exit 1\)"),
        ([-15, 0], RuntimeError, "ended by SIGTERM"),
        ([0], RuntimeError, r"exit 0"),
    ],
)
def test_processes_without_an_answer_are_reported_with_what_ended_the_first(tmp_path, exit_codes, kind, message):
    with pytest.raises(RuntimeError, match=message) as error:
        _read_answers([tmp_path / "answer-0.json", tmp_path / "answer-1.json"], exit_codes)
    assert type(error.value) is kind


def test_a_rank_killed_in_a_training_is_named(tmp_path, monkeypatch):
    from repro.pipeline import distributed
    from repro.pipeline.context import make_context
    from repro.progress import silent
    from repro.stages import Distill

    stages = plan("table2", scale="toy", seeds=1, assignments=SETTINGS).stages()
    stage = next(stage for stage in stages if isinstance(stage, Distill))
    killed = subprocess.CompletedProcess([], 137)
    monkeypatch.setattr(distributed.subprocess, "run", lambda command, check: killed)
    train = distributed_function(stage, make_context(tmp_path, tmp_path, silent, Resources(ranks=2)))
    with pytest.raises(WorkerError, match="one of 2 processes was killed"):
        train(tmp_path)
