"""A study on a real Slurm: the numbers of a run on this machine, whatever happens to jobs and nodes in between."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from faults_kit import Forge, check_artifacts, measured, study_arguments

pytestmark = pytest.mark.timeout(3600)
HOURS = "hours=0.1"  # six minutes a job


@pytest.fixture(scope="module")
def forge(tmp_path_factory):
    forge = Forge(tmp_path_factory.mktemp("forge"))
    yield forge
    forge.server.close()


@pytest.fixture(scope="module")
def undisturbed(forge, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    code, text = forge.run(study_arguments(out))
    assert code in (0, 1), text
    return out


def on_slurm(out: Path, *more: str) -> list[str]:
    arguments = study_arguments(out, *more, "--cluster-option", HOURS, "--cluster-option", "cpus=1", backend="slurm")
    arguments[arguments.index("--workers") + 1] = "8"
    return arguments


def run_command(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def running() -> dict[str, str]:
    """Return the ids of the running jobs and their nodes."""
    return dict(line.split() for line in run_command("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i %N").splitlines())


def submitted() -> int:
    """Return how many jobs this Slurm has had: numbers are never used twice."""
    line = next(
        line for line in run_command("scontrol", "show", "config").splitlines() if line.startswith("NEXT_JOB_ID")
    )
    return int(line.split("=")[1])


def wait_until(condition, driver, seconds: float = 1200):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert driver.poll() is None, driver.text()
        assert time.monotonic() < deadline, run_command("squeue")
        time.sleep(0.1)
    return value


def stage_process(job: str) -> psutil.Process | None:
    """Return the stage's process of a job."""
    for process in psutil.process_iter(["cmdline"]):
        if "submitit.core._submit" in " ".join(process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                env = process.environ()
                array = f"{env.get('SLURM_ARRAY_JOB_ID')}_{env.get('SLURM_ARRAY_TASK_ID')}"
                if job in (env.get("SLURM_JOB_ID"), array):
                    return process
    return None


def test_killed_drained_cancelled_and_out_of_time(slurm, forge, undisturbed, tmp_path):
    """Each once in one study: nothing is lost, and finished stages are not run again."""
    first = submitted()
    driver = forge.start(on_slurm(tmp_path, "--checkpoint-every", "1"))
    hit: set[str] = set()

    def fresh(node: str = "") -> str | None:
        return next((job for job, host in running().items() if job not in hit and node in host), None)

    job = wait_until(fresh, driver)
    hit.add(job)
    process = wait_until(lambda: stage_process(job), driver)
    process.send_signal(signal.SIGKILL)

    job = wait_until(fresh, driver)
    hit.add(job)
    run_command("scancel", job)

    job = wait_until(lambda: fresh("repro1"), driver)
    run_command("scontrol", "update", "NodeName=repro1", "State=DRAIN", "Reason=test")
    wait_until(lambda: job not in running(), driver)  # its running job may finish
    done = len(list((tmp_path / "cache").glob("[a-z]*-*")))
    wait_until(lambda: len(list((tmp_path / "cache").glob("[a-z]*-*"))) > done, driver)  # the other node continues
    assert all(node == "repro2" for node in running().values())
    run_command("scontrol", "update", "NodeName=repro1", "State=RESUME")

    job = wait_until(fresh, driver)
    hit.add(job)
    run_command("scontrol", "update", f"JobId={job}", "TimeLimit=00:00:01")

    code = driver.wait(900)
    assert code in (0, 1), driver.text()
    assert measured(tmp_path) == measured(undisturbed)
    assert check_artifacts(tmp_path) == 17
    assert 17 + 2 <= submitted() - first <= 17 + len(hit), "a stage ran that nothing had happened to"
    assert not running()


def test_an_interrupted_driver_cancels_its_jobs(slurm, forge, tmp_path):
    driver = forge.start(on_slurm(tmp_path))
    wait_until(running, driver)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait() == 130, driver.text()
    deadline = time.monotonic() + 300
    while run_command("squeue", "-h", "-t", "RUNNING,PENDING"):
        assert time.monotonic() < deadline, run_command("squeue")
        time.sleep(0.2)
    assert not list((tmp_path / "cache" / ".jobs").iterdir())


def test_the_jobs_of_a_killed_driver_are_ended_by_the_next(slurm, forge, undisturbed, tmp_path):
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    for folder in list((tmp_path / "cache").glob("evaluate-*"))[:2]:
        shutil.rmtree(folder)
    driver = forge.start(on_slurm(tmp_path))
    before = set(wait_until(running, driver))
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    code, text = forge.run(on_slurm(tmp_path))
    assert code in (0, 1), text
    assert not before & set(running())
    assert measured(tmp_path) == measured(undisturbed)
    assert check_artifacts(tmp_path) == 17
    record = json.loads(next((tmp_path / "cache").glob("evaluate-*/record.json")).read_text())
    assert record["config"]["kind"] == "evaluate"
