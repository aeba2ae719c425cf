"""Jobs that Slurm refuses, and results that a network disk shows late; with stand-ins for Slurm's commands."""

import errno
import fcntl
import io
import os
from pathlib import Path

import pytest
from rich.console import Console

import repro.pipeline.cluster as cluster_module
import repro.pipeline.slurm_jobs as slurm_jobs
import repro.pipeline.submission as submission_module
from repro.errors import InputError, StageError
from repro.pipeline.cluster import Execution
from repro.pipeline.job_outcome import LostJobs, find_error
from repro.pipeline.run import check_locks
from repro.pipeline.submission import Running, Submission
from repro.planner.dry_run import print_plan
from repro.planner.resources import Resources, resources_for
from repro.recipes.catalog import plan
from repro.stages.artifact import is_complete

TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


@pytest.fixture
def stage():
    return plan("table2", scale="toy", seeds=1, assignments=("tasks=toy-bm4",)).stages()[0]


@pytest.fixture
def submission(tmp_path):
    return Submission(tmp_path, tmp_path / "jobs", Execution(Resources(), backend="slurm"))


def put_command(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_what_sbatch_says_is_the_message(monkeypatch, tmp_path, submission, stage):
    for name in ("sbatch", "srun"):
        put_command(tmp_path / "bin", name, f"echo '{TIMED_OUT}' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(StageError, match=rf"does not accept 1 job: {TIMED_OUT}\. Change their request"):
        submission.submit([(stage, ())])


def test_sbatch_finds_slurm_and_nothing_of_the_job_that_it_is_called_in(monkeypatch, tmp_path, submission, stage):
    put_command(tmp_path / "bin", "srun", "")
    put_command(tmp_path / "bin", "sbatch", '[ "$SLURM_CONF-$SLURM_JOB_ID" = there- ] && echo Submitted batch job 7')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CONF", "there")
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    with slurm_jobs.accounting_off():
        ((running),) = submission.submit([(stage, ())])
    assert running.job.job_id == "7"
    assert (os.environ["SLURM_CONF"], os.environ["SLURM_JOB_ID"]) == ("there", "3")


def test_jobs_that_slurm_refuses_for_a_while_are_submitted_again(monkeypatch, submission, stage, caplog):
    """A controller that restarts, or a limit of jobs, in the middle of a study must not cancel what runs."""
    answers = ["job", TIMED_OUT, TIMED_OUT, "job"]

    def submit(*_):
        answer = answers.pop(0)
        if answer == TIMED_OUT:
            raise slurm_jobs.SubmissionError(answer)
        return [answer]

    waits: list[float] = []
    monkeypatch.setattr(slurm_jobs, "submit_array", submit)
    monkeypatch.setattr(submission_module.time, "sleep", waits.append)
    for _ in range(2):
        ((running),) = submission.submit([(stage, ())])
        assert running.job == "job"
    assert waits == [60.0, 60.0]
    assert caplog.text.count("Trying again every minute") == 1
    monkeypatch.setattr(submission_module, "SUBMIT_FOR_S", -1.0)
    answers.append(TIMED_OUT)
    with pytest.raises(StageError, match="Socket timed out"):
        submission.submit([(stage, ())])


@pytest.fixture
def forgetful_disk(monkeypatch):
    """Make this machine an NFS client that knows of no file until the folder that got the new name is opened."""
    opened: set[Path] = set()
    is_file, exists, read_text, open_file = Path.is_file, Path.exists, Path.read_text, os.open

    def is_seen(path: Path) -> bool:
        return not opened.isdisjoint(path.parents)

    def open_and_note(path, *rest, **options):
        opened.add(Path(path))
        return open_file(path, *rest, **options)

    def read(path, *rest, **options):
        if not is_seen(path):
            raise FileNotFoundError(path)
        return read_text(path, *rest, **options)

    monkeypatch.setattr(os, "open", open_and_note)
    monkeypatch.setattr(Path, "is_file", lambda path: is_seen(path) and is_file(path))
    monkeypatch.setattr(Path, "exists", lambda path: is_seen(path) and exists(path))
    monkeypatch.setattr(Path, "read_text", read)
    return opened


class EndedJob:
    """A job that has left an outcome."""

    job_id = "7_0"

    def has_ended(self):
        return True

    def outcome(self):
        return {"built": True}

    def output(self):
        return ""


def test_an_artifact_of_another_machine_is_seen_at_once(tmp_path, stage, forgetful_disk):
    """Else the driver would say "ended without a record" of a stage that has ended well."""
    folder = tmp_path / stage.folder_name
    folder.mkdir()
    (folder / "record.json").write_bytes(b"{}")
    run = Running(stage, EndedJob(), 0.0)
    assert find_error(run, tmp_path) is None
    assert not LostJobs().should_resubmit(run, tmp_path)
    assert not is_complete(tmp_path / "another")
    assert tmp_path in forgetful_disk


def test_what_slurm_says_of_a_lost_job_is_told(tmp_path, stage, caplog):
    """A line reports each loss, and the error the last: without the reason, out of memory looks like a kill."""

    class LostJob(EndedJob):
        def outcome(self):
            return None

        def output(self):
            return "loading\nslurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.\n"

    run, lost_jobs = Running(stage, LostJob(), 0.0), LostJobs()
    assert [lost_jobs.should_resubmit(run, tmp_path) for _ in range(3)] == [True, True, False]
    assert caplog.text.count("job 7_0 was lost: Detected 1 oom_kill event in StepId=7.batch. It is submitted") == 2
    assert "its process was killed: Detected 1 oom_kill event in StepId=7.batch. Log: " in str(
        find_error(run, tmp_path)
    )


def test_the_outcome_of_a_job_is_looked_for_again_before_it_counts_as_lost(tmp_path, forgetful_disk):
    from submitit import SlurmJob as SubmititJob
    from submitit.core.utils import cloudpickle_dump

    submitted = SubmititJob(tmp_path, "7")
    job = slurm_jobs.SlurmJob(submitted)
    cloudpickle_dump(("success", {"built": True}), submitted.paths.result_pickle)
    forgetful_disk.clear()
    assert not job.has_ended()
    assert job.outcome() == {"built": True}


def test_a_disk_without_file_locks_is_refused(monkeypatch, tmp_path):
    """Lustre without the option flock: a killed job's lock would stay, and the next one wait at it with its GPUs."""
    check_locks(tmp_path)

    def refuse(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"does not support file locks \(Function not implemented\)"):
        check_locks(tmp_path)


def test_a_plan_for_slurm_says_nothing_of_the_machine_that_submits(tmp_path):
    """It would refuse a study that needs GPUs, which its jobs have."""
    study = plan("table2", scale="paper", seeds=1)
    texts = {}
    for is_here in (True, False):
        console = Console(file=io.StringIO(), width=200)
        print_plan(study, tmp_path, console, resources_for("paper"), is_here=is_here)
        texts[is_here] = console.file.getvalue()
    assert "`repro run` would refuse: scale paper" in texts[True]
    assert "would refuse" not in texts[False]
    assert "does not fit" not in texts[False]


def test_the_users_own_filters_hide_no_job(monkeypatch, tmp_path):
    put_command(tmp_path, "squeue", '[ -z "$SQUEUE_PARTITION" ] && echo "7 PENDING Priority"; exit 0')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SQUEUE_PARTITION", "a100")
    assert cluster_module._queued({"7"}) == {"7": "Priority"}
