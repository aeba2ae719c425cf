"""`repro run --cluster slurm` compares its stages with what the jobs request before the first one starts."""

import pytest

from repro.cli.run import _too_large_for_jobs
from repro.errors import StageError
from repro.pipeline.cluster import Cluster
from repro.planner.resources import resources_for
from repro.recipes.catalog import STUDIES, plan

RUN = ("run", "table2", "--family", "gemma3", "--seeds", "1", "--cluster", "slurm")
ENOUGH = {"gpus": 8, "cpus": 64, "memory_gib": 512}


@pytest.fixture
def slurm(repro, monkeypatch):
    """Run the study with these keys of a cluster file; returns exit code, stdout and stderr."""

    def start(*arguments, **options):
        raise StageError("the first stage has started")

    monkeypatch.setattr("repro.pipeline.cluster.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("repro.workflow.study.run_study", start)

    def call(*arguments, scale="paper", **request):
        options = [part for key, value in request.items() for part in ("--cluster-option", f"{key}={value}")]
        return repro(*RUN, "--scale", scale, *options, *arguments)

    return call


@pytest.mark.parametrize(
    ("request_of_a_job", "message"),
    [
        ({"gpus": 1}, "GiB on each of 1 GPU(s), one sequence at a time, but a job has 1 GPU(s) with 78 GiB each: use 2 such"),
        ({"gpus": 8, "gpu_memory_gib": 23.6}, "but a job has 8 GPU(s) with 23.6 GiB each"),
        ({"gpus": 8, "memory_gib": 4}, "GiB of host memory for 1 process(es), but a job has 4 GiB: request more (memory_gib"),
    ],
)  # fmt: skip
def test_jobs_that_are_too_small_for_a_stage_are_refused(slurm, request_of_a_job, message):
    code, _, err = slurm("--yes", **request_of_a_job)
    assert code == 2
    assert "--cluster slurm: the jobs are too small. " in err
    assert message in err
    assert "more: --dry-run shows them)" in err
    code, out, _ = slurm("--dry-run", **request_of_a_job)
    assert code == 0
    assert f"{message}" in out
    assert out.count("does not fit: ") > 1


@pytest.mark.parametrize("request_of_a_job", [ENOUGH, ENOUGH | {"gpus": 1, "gpu_memory_gib": 139.0}])
def test_jobs_that_hold_every_stage_start(slurm, request_of_a_job):
    code, _, err = slurm("--yes", **request_of_a_job)
    assert (code, "the first stage has started" in err) == (3, True)
    assert "do not request" not in err


def test_stages_that_are_cached_need_no_job(slurm, monkeypatch):
    monkeypatch.setattr("repro.stages.artifact.which_cached", lambda stages, out: [True] * len(stages))
    assert slurm("--yes", gpus=1)[0] == 3


@pytest.mark.parametrize(
    ("unset", "line"),
    [
        (("cpus",), "the Slurm jobs do not request cpus=16, which"),
        (("memory_gib",), "the Slurm jobs do not request memory_gib=96, which"),
        (("cpus", "memory_gib"), "the Slurm jobs do not request cpus=16 and memory_gib=96, which"),
    ],
)
def test_what_the_stages_want_is_said_where_the_jobs_request_none(slurm, unset, line):
    """Slurm's default may be one core for eight threads, and less memory than a conversion to float32 takes."""
    code, _, err = slurm("--yes", **{key: value for key, value in ENOUGH.items() if key not in unset})
    assert code == 3
    assert err.count("do not request") == err.count(line) == 1


def test_the_toy_scale_goes_on_without_a_word(slurm):
    for request_of_a_job in ({}, {"gpus": 1, "memory_gib": 0.1}):
        code, _, err = slurm(scale="toy", **request_of_a_job)
        assert code == 3
        assert "warning" not in err


def test_other_sbatch_options_may_request_host_memory_and_cpus(slurm, tmp_path):
    file = tmp_path / "cluster.toml"
    file.write_text('[extra]\ngres = "gpu:8"\ncpus-per-gpu = 8\nmem-per-gpu = "64G"\n')
    code, _, err = slurm("--yes", "--cluster-file", file)
    assert code == 3
    assert "do not request" not in err


@pytest.mark.parametrize(("scale", "count"), [("small", 1), ("paper", 8)])
def test_jobs_of_the_hardware_that_a_scale_needs_hold_every_study(scale, count, tmp_path):
    for name in STUDIES:
        study = plan(name, scale=scale, families=("all",), seeds=1)
        assert _too_large_for_jobs(study, tmp_path, resources_for(scale), Cluster(gpus=count, memory_gib=512)) == []
