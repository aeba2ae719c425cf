"""Stages forked from a process with the libraries loaded: they import nothing more, and where they fork is decided safely."""

import json
import logging
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
from faults_kit import SETTINGS
from rich.console import Console

from repro.errors import StageError
from repro.pipeline import local_jobs
from repro.pipeline.cluster import Execution
from repro.pipeline.engine import run_stages
from repro.pipeline.local_jobs import LocalJobs
from repro.pipeline.run import prepare_cache, run
from repro.pipeline.run_stage import artifact_lock
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages import Stage, topological_order
from repro.stages.artifact import CACHE, is_complete
from repro.stages.workload import PASSES
from repro.system.fork_server import CAN_FORK, ForkServerError
from repro.workflow.own_models import StageOptions, evaluate_stage

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="no fork server on this system")
TINY = ("evaluation.completions_per_prompt=2",)
RECORDING = """
import json, os, sys
from pathlib import Path
from repro.pipeline import stage_process

def run_and_record(order):
    folder, before = Path(order["folder"]), set(sys.modules)
    stage_process.run_in(folder)
    stage = json.loads((folder / stage_process.ORDER).read_text())["stage"]
    new = [name for name in sys.modules if name not in before]
    Path(os.environ["REPRO_TEST_IMPORTS"], str(os.getpid())).write_text(json.dumps([stage["kind"], new]))

stage_process.serve(stage_process.MODULES, run_and_record)
"""
"""A server whose stages write what they have imported."""


@pytest.fixture
def stage():
    return evaluate_stage("toy:qwen3-student", StageOptions(tasks=("toy-bm4",), items=2, assignments=TINY))


def stages_of_all_kinds() -> list[Stage]:
    """Return a stage of each procedure, and an evaluation of the other family, with their inputs."""
    chosen = {}
    for name in ("table2", "figure2", "figure4", "failure-modes", "guards"):
        for stage in plan(name, scale="toy", seeds=1, families=("qwen3",), assignments=SETTINGS).stages():
            if stage.procedure in PASSES:
                chosen.setdefault(stage.procedure, stage)
    other = evaluate_stage("toy:gemma3-student", StageOptions(tasks=("toy-bm4",), items=2, assignments=TINY))
    return topological_order([*chosen.values(), other])


@pytest.mark.processes
def test_no_stage_of_any_kind_imports_anything(tmp_path, monkeypatch):
    """The server has imported it all, so a stage's own start is short however busy the machine is."""
    imports = tmp_path / "imports"
    imports.mkdir()
    monkeypatch.setenv("REPRO_TEST_IMPORTS", str(imports))
    monkeypatch.setattr(local_jobs, "_command", lambda folder, *_: [sys.executable, "-c", RECORDING, str(folder)])
    stages = stages_of_all_kinds()
    assert {stage.procedure for stage in stages} >= set(PASSES)
    run(stages, tmp_path, Execution(Resources(), workers=2), console=Console(quiet=True), quiet=True)
    recorded = [json.loads(file.read_text()) for file in imports.iterdir()]
    assert Counter(kind for kind, _ in recorded) == Counter(stage.kind for stage in stages)
    assert [(kind, new) for kind, new in recorded if new] == []


class Ended:
    """A process that has ended."""

    pid = 1

    def poll(self):
        return 0


class Server:
    """Stands in for the fork server."""

    started = 0
    failure: Exception | None = None

    def __init__(self, command, env, log):
        Server.started += 1
        self.env = env

    def wait_until_ready(self):
        if self.failure:
            raise self.failure

    def start(self, output, order):
        return Ended()

    def close(self):
        pass


@pytest.fixture
def fresh(monkeypatch):
    """The commands of fresh processes; none of them is started."""
    commands = []

    def popen(command, **arguments):
        commands.append(command)
        return Ended()

    monkeypatch.setattr(local_jobs.subprocess, "Popen", popen)
    monkeypatch.setattr(local_jobs, "ForkServer", Server)
    monkeypatch.setattr(Server, "started", 0)
    monkeypatch.setattr(Server, "failure", None)
    return commands


def on_a_gpu(stage, folder):
    """Return the stage with a model that is not a toy, which uses a GPU if there is one."""
    return stage.model_copy(update={"model": stage.model.model_copy(update={"name": str(folder)})})


def with_vllm(stage):
    return stage.model_copy(update={"config": stage.config.model_copy(update={"engine": "vllm"})})


@pytest.mark.parametrize(
    ("change", "has_gpus", "is_forked"),
    [
        (lambda stage, folder: stage, False, True),
        (lambda stage, folder: stage, True, True),  # toy models compute on the CPU beside a GPU, too
        (on_a_gpu, False, True),
        (on_a_gpu, True, False),
        (lambda stage, folder: with_vllm(stage), False, False),
    ],
    ids=["toy", "toy beside a GPU", "model without a GPU", "model on a GPU", "vLLM"],
)
def test_a_stage_with_a_gpu_or_vllm_gets_a_fresh_process(stage, fresh, tmp_path, change, has_gpus, is_forked):
    jobs, changed = LocalJobs(tmp_path, has_gpus=has_gpus), change(stage, tmp_path)
    jobs.prepare(Resources(), [changed])
    jobs.start(changed, {})
    assert (Server.started, len(fresh)) == ((1, 0) if is_forked else (0, 1))


def test_where_a_fork_is_not_safe_every_stage_gets_a_fresh_process(stage, fresh, tmp_path, monkeypatch):
    monkeypatch.setattr(local_jobs, "CAN_FORK", False)
    jobs = LocalJobs(tmp_path, has_gpus=False)
    jobs.prepare(Resources(), [stage])
    jobs.start(stage, {})
    assert (Server.started, len(fresh)) == (0, 1)


def test_a_server_that_cannot_start_is_reported_and_stages_start_without_it(
    stage, fresh, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(Server, "failure", ForkServerError("threads run that a fork would not copy: a_thread"))
    jobs = LocalJobs(tmp_path, has_gpus=False)
    jobs.prepare(Resources(), [stage])
    for _ in range(2):
        jobs.start(stage, {})
    assert len(fresh) == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "starts a new Python process" in caplog.text
    assert "a_thread" in caplog.text


def test_the_server_sees_no_gpu_and_starts_no_threads(stage, fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    jobs = LocalJobs(tmp_path, has_gpus=True)
    jobs.prepare(Resources(threads=3), [stage])
    assert jobs._server.env["CUDA_VISIBLE_DEVICES"] == ""
    assert jobs._server.env["OMP_NUM_THREADS"] == "3"  # as stages have it: it is read when torch is loaded
    assert jobs._server.env["OPENBLAS_NUM_THREADS"] == "1"
    assert jobs._server.env["PYTHONSAFEPATH"] == "1"


@pytest.mark.processes
def test_without_a_server_the_numbers_are_the_same(stage, tmp_path, monkeypatch, caplog):
    """With two threads a stage, too, of which the server starts none."""
    for is_warm in (True, False):
        monkeypatch.setattr(local_jobs, "CAN_FORK", is_warm)
        run([stage], tmp_path / str(is_warm), Execution(Resources(threads=2)), console=Console(quiet=True), quiet=True)
    assert not caplog.records
    forked, fresh = (tmp_path / str(is_warm) / CACHE / stage.folder_name for is_warm in (True, False))
    for name in ("rollouts.parquet", "summary.json"):
        assert (forked / name).read_bytes() == (fresh / name).read_bytes()


def server_of(folder: Path) -> psutil.Process:
    """Return the server below this process that works for a driver which writes below `folder`."""
    (server,) = [
        child
        for child in psutil.Process().children()
        if "--serve" in child.cmdline() and any(str(folder) in argument for argument in child.cmdline())
    ]
    return server


@pytest.mark.load_sensitive
@pytest.mark.processes
def test_a_killed_server_ends_the_run_with_one_line_and_the_next_resumes(stage, tmp_path):
    cache = prepare_cache(tmp_path)
    killed: list[psutil.Process] = []

    def kill_the_server(done, running, waiting, failures):
        if running and not killed:
            server = server_of(tmp_path)
            killed.extend([*server.children(recursive=True), server])
            server.send_signal(signal.SIGKILL)

    # The stage waits for its lock: else it could end before a busy driver kills it.
    with (
        artifact_lock(cache, stage),
        pytest.raises(
            StageError, match=r"has ended \(signal 9\); the running stages ended with it\. The same command resumes\."
        ),
    ):
        run_stages([stage], cache, execution=Execution(Resources()), on_tick=kill_the_server)
    assert len(killed) == 2
    assert not [process for process in killed if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not is_complete(cache / stage.folder_name)
    run([stage], tmp_path, Execution(Resources()), console=Console(quiet=True), quiet=True)
    assert is_complete(cache / stage.folder_name)


def test_the_driver_loads_no_libraries():
    """They are loaded in the server, while the driver plans."""
    code = "import sys; import repro.workflow.study; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert loaded & {"torch", "transformers", "trl", "peft", "datasets", "exca", "submitit"} == set()
