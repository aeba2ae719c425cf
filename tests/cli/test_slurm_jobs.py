"""`repro run --cluster slurm` compares its stages with what the jobs request before the first one starts."""

import pytest

from repro.errors import StageError
from repro.planner.fit import job_needs
from repro.planner.placement import Cards
from repro.planner.resources import resources_for
from repro.planner.scales import REQUIREMENTS
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
    assert "warning: stages" not in err


def test_stages_that_are_cached_need_no_job(slurm, monkeypatch):
    monkeypatch.setattr("repro.stages.artifact.which_cached", lambda stages, out: [True] * len(stages))
    assert slurm("--yes", gpus=1)[0] == 3


@pytest.mark.parametrize(
    ("request_of_a_job", "line"),
    [
        ({"memory_gib": 512}, "stages use up to cpus=16, and the Slurm jobs do not request that"),
        ({"cpus": 64}, "stages use up to memory_gib=96, and the Slurm jobs do not request that"),
        ({}, "stages use up to cpus=16 and memory_gib=96, and the Slurm jobs do not request that"),
        ({"cpus": 64, "memory_gib": 4}, "need up to 96 GiB of host memory, and the Slurm jobs request 4: set memory_gib=96"),
    ],
)  # fmt: skip
def test_too_few_cpus_and_too_little_memory_are_warned_of(slurm, request_of_a_job, line):
    """Slurm's default may be one core for eight threads, and less memory than a conversion to float32 takes."""
    code, _, err = slurm("--yes", gpus=8, **request_of_a_job)
    assert code == 3
    assert err.count(line) == err.count("warning: stages") == 1


def test_what_jobs_need_does_not_depend_on_the_gpus_of_the_submitting_machine(slurm, tmp_path, monkeypatch):
    small = [{"index": "0", "uuid": "GPU-0", "name": "NVIDIA L4", "memory_gib": 22.5, "driver": "580"}]
    monkeypatch.setattr("repro.system.hardware.installed_gpus", lambda: small)
    file = tmp_path / "cluster.toml"
    file.write_text('[extra]\ngres = "gpu:8"\n')
    assert "cpus=16 and memory_gib=96" in slurm("--yes", "--cluster-file", file)[2]


@pytest.mark.parametrize(("gib", "layout"), [(23.6, "on each of 8 GPU(s) with the models sharded"), (139.0, "")])
def test_a_dry_run_plans_with_the_gpus_of_the_jobs(slurm, gib, layout):
    code, out, _ = slurm("--dry-run", gpus=8, gpu_memory_gib=gib)
    assert code == 0
    assert ("does not fit" in out) == bool(layout)
    assert layout in out
    assert ("8 sharded" in out) == (gib == 23.6)


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
    assert "warning: stages" not in err


@pytest.mark.parametrize(("scale", "count"), [("small", 1), ("paper", 8)])
def test_jobs_of_the_hardware_that_a_scale_needs_hold_every_study(scale, count):
    cards = Cards(count, REQUIREMENTS[scale].gpu_memory_gib)
    for name in STUDIES:
        study = plan(name, scale=scale, families=("all",), seeds=1)
        assert job_needs(study.stages(), resources_for(scale), cards).too_large == []
