"""Requests of Slurm jobs, and the meaning of squeue's answers."""

import subprocess

import pytest

import repro.pipeline.cluster as module
from repro.errors import InputError
from repro.pipeline.cluster import (
    FINISHED_AFTER_MISSES,
    Cluster,
    SlurmQueue,
    check_gpus,
    parse_cluster,
    submitted_jobs,
)
from repro.planner.resources import Resources


@pytest.fixture(autouse=True)
def slurm_here(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/usr/bin/{name}")


def test_options_take_precedence_over_the_file(tmp_path):
    file = tmp_path / "cluster.toml"
    file.write_text('partition = "gpu"\ngpus = 8\nhours = 12\nsetup = ["module load cuda"]\n[extra]\nnice = 100\n')
    backend, cluster = parse_cluster("slurm", file, ["hours=48", "account=lab"])
    assert backend == "slurm"
    assert cluster.infra() == {
        "timeout_min": 48 * 60,
        "gpus_per_node": 8,
        "slurm_partition": "gpu",
        "slurm_account": "lab",
        "slurm_setup": ["module load cuda"],
        "slurm_additional_parameters": {"nice": 100},
    }


@pytest.mark.parametrize(
    ("backend", "content", "options", "message"),
    [
        ("moon", None, [], "Backends: local, slurm, none"),
        ("local", None, ["gpus=1"], "need --cluster slurm"),
        ("slurm", "hours = ", [], "not TOML"),
        ("slurm", "colour = 1", [], "Settings: partition"),
        ("slurm", "hours = 0", [], "greater than 0"),
        ("slurm", None, ["gpus"], "key=value"),
    ],
)
def test_mistakes_are_reported(tmp_path, backend, content, options, message):
    file = tmp_path / "cluster.toml" if content else None
    if file:
        file.write_text(content)
    with pytest.raises(InputError, match=message):
        parse_cluster(backend, file, options)


@pytest.mark.parametrize(
    ("request_of_a_job", "ranks", "server", "warning"),
    [
        ({"gpus": 8}, 8, 0, None),
        ({"gpus": 8}, 6, 2, None),
        ({"extra": {"gres": "gpu:a100:8"}}, 8, 0, None),
        ({}, 1, 0, "request no GPUs"),
        ({"gpus": 0}, 1, 0, InputError("--ranks 1: the Slurm jobs request 0 GPUs; request 1")),
        ({"gpus": 8}, 8, 1, InputError("--ranks 8 --vllm-server 1: the Slurm jobs request 8 GPUs; request 9")),
        ({"gpus": 8}, 1, 0, "each Slurm job holds 8 GPUs, and a stage that fits on 1 uses no more: --ranks 8"),
        ({"gpus": 8}, 1, 2, "--ranks 6"),
    ],
)
def test_gpus_of_a_job_are_those_that_its_stage_uses(request_of_a_job, ranks, server, warning):
    cluster, resources = Cluster(**request_of_a_job), Resources(ranks=ranks, vllm_server=server)
    if isinstance(warning, InputError):
        with pytest.raises(InputError, match=str(warning)):
            check_gpus(cluster, resources)
        return
    answer = check_gpus(cluster, resources)
    assert answer is None if warning is None else warning in answer


def test_no_slurm_on_this_machine(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="no sbatch"):
        parse_cluster("slurm", file=None, options=[])


class Slurm:
    """A stand-in for subprocess.run that answers as squeue does."""

    def __init__(self, monkeypatch):
        self.text, self.code, self.error = "", 0, ""
        monkeypatch.setattr(module.subprocess, "run", self)
        monkeypatch.setattr(module, "POLL_S", -1.0)

    def __call__(self, command, **kwargs):
        self.command = command
        return subprocess.CompletedProcess(command, self.code, self.text, self.error)


def test_a_job_is_finished_after_several_answers_without_it(monkeypatch):
    slurm, queue = Slurm(monkeypatch), SlurmQueue()
    slurm.text = "7_0 RUNNING\n7_1 PENDING\n8 COMPLETING\n9 COMPLETED\n"
    jobs = ["7_0", "7_1", "8", "9"]
    for _ in range(FINISHED_AFTER_MISSES - 1):
        assert queue.finished(jobs) == set()
    assert queue.finished(jobs) == {"9"}
    assert "--jobs=7,8,9" in slurm.command
    slurm.text = ""
    queue.finished(jobs)
    slurm.text = "7_0 RUNNING\n"  # listed again: its misses start from zero
    queue.finished(jobs)
    slurm.text = ""
    assert "7_0" not in queue.finished(jobs)


def test_a_job_that_slurm_holds_back_without_end_is_told_once(monkeypatch, caplog):
    """Slurm accepts a time limit above the partition's, and never starts the job."""
    slurm, queue = Slurm(monkeypatch), SlurmQueue()
    waiting = "7_0 RUNNING None\n7_1 PENDING Resources\n7_2 PENDING PartitionTimeLimit\n"
    slurm.text = f"{waiting}7_3 PENDING ReqNodeNotAvail, UnavailableNodes:node[1-3]\n"
    for _ in range(3):
        assert queue.finished(["7_0", "7_1", "7_2", "7_3"]) == set()
    messages = [record.getMessage() for record in caplog.records]
    assert sorted(messages) == [
        "Slurm holds job 7_2 back: PartitionTimeLimit (squeue --jobs=7_2)",
        "Slurm holds job 7_3 back: ReqNodeNotAvail, UnavailableNodes:node[1-3] (squeue --jobs=7_3)",
    ]


def test_nothing_changes_while_slurm_does_not_answer(monkeypatch):
    slurm, queue = Slurm(monkeypatch), SlurmQueue()
    slurm.code, slurm.error = 1, "slurm_load_jobs error: Unable to contact slurm controller"
    for _ in range(2 * FINISHED_AFTER_MISSES):
        assert queue.finished(["7"]) == set()
    slurm.error = "slurm_load_jobs error: Invalid job id specified"  # of a job that ended long ago
    for _ in range(FINISHED_AFTER_MISSES):
        finished = queue.finished(["7"])
    assert finished == {"7"}


def test_jobs_of_a_driver_are_found_by_their_files(tmp_path):
    logs = tmp_path / "batch" / "logs"
    logs.mkdir(parents=True)
    (logs / "41_submission.sh").write_text("")
    (logs / "41_0_0_log.out").write_text("")
    assert list(submitted_jobs(tmp_path)) == ["41"]
    assert Cluster().infra() == {"timeout_min": 24 * 60}


def test_accounting_is_off_only_while_slurm_jobs_are_followed():
    import submitit

    from repro.pipeline.cluster import Execution
    from repro.pipeline.submission import accounting_off
    from repro.planner.resources import Resources

    before = submitit.SlurmJob.watcher
    with accounting_off(Execution(Resources(), backend="local")):
        assert submitit.SlurmJob.watcher is before
    with accounting_off(Execution(Resources(), backend="slurm")):
        assert submitit.SlurmJob.watcher._make_command() is None
    assert submitit.SlurmJob.watcher is before
