"""GPUs of a stage: as many as it has ranks, and none that another stage has."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.generation.server import ServerPlacement
from repro.pipeline.cluster import Execution
from repro.pipeline.context import make_context
from repro.pipeline.distributed import _worker_environment
from repro.pipeline.gpu_pool import GpuPool, resolve_layout, visible_cards, with_gpus
from repro.pipeline.run import run
from repro.pipeline.run_stage import check_gpu, run_stage
from repro.planner.placement import Cards
from repro.planner.resources import Layout, Resources, resources_for
from repro.planner.scales import workers_for
from repro.progress import silent
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Distill
from repro.stages.artifact import CACHE
from repro.system.gpus import visible_gpus
from repro.workflow.own_models import StageOptions, evaluate_stage


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,GPU-7")


@pytest.mark.usefixtures("eight")
def test_no_gpu_is_allocated_twice_and_all_come_back():
    pool = GpuPool(Execution(Resources(ranks=3)))
    stages = plan("table2", scale="small", seeds=1).stages()[:3]
    (_, first), (_, second) = pool.acquire(stages, limit=8)
    assert (first, second) == (("0", "1", "2"), ("3", "4", "5"))
    assert pool.acquire(stages, limit=8) == []
    pool.release(first)
    pool.release(second)
    assert pool.acquire(stages[:1], limit=1) == [
        (stages[0], first)
    ]  # again: the process of --cluster none is bound to it
    ((_, second),) = pool.acquire(stages[1:2], limit=1)
    pool.release(first)
    ((started, third),) = pool.acquire(stages, limit=8)
    assert started == stages[0]
    assert set(third).isdisjoint(second)


@pytest.mark.usefixtures("eight")
def test_a_stage_gets_the_gpus_that_hold_it_and_is_not_overtaken(monkeypatch):
    """A 12B calibration needs two 80 GB GPUs, a 1.7B student one; a stage that waits for GPUs is not overtaken."""
    monkeypatch.setattr("repro.pipeline.gpu_pool.installed_gpus", lambda: [{"memory_gib": 79.6}] * 8)
    stages = plan("table2", scale="paper", families=("all",), seeds=1).stages()
    large = next(s for s in stages if isinstance(s, Calibrate) and s.teacher.name == "google/gemma-3-12b-it")
    small = next(s for s in stages if isinstance(s, Distill) and s.student.name == "Qwen/Qwen3-1.7B")
    pool = GpuPool(Execution(resources_for("paper")))
    assert [len(names) for _, names in pool.acquire([large, small, large, small], limit=3)] == [2, 1, 2]
    assert [len(names) for _, names in pool.acquire([small, large, small], limit=9)] == [1, 2]
    assert pool.acquire([large, small], limit=9) == []
    resources = resolve_layout(large, resources_for("paper"), Cards(2, 79.6))
    assert (resources.ranks, resources.shard, resources.tensor_parallel) == (2, "always", 1)
    again = resolve_layout(large, replace(resources_for("paper"), ranks=2, gpus=("4", "5")), Cards(2, 79.6))
    assert replace(again, gpus=()) == resources  # the job decides as the driver did


@pytest.mark.usefixtures("eight")
def test_a_chosen_layout_is_used_by_the_pool_and_by_the_job(monkeypatch):
    """In a rehearsal, small models have the layouts of the large ones."""
    monkeypatch.setattr("repro.pipeline.gpu_pool.installed_gpus", lambda: [{"memory_gib": 79.6}] * 8)
    stages = plan("table2", scale="paper", families=("qwen3",), seeds=1).stages()
    trained = next(s for s in stages if isinstance(s, Distill))
    sampled = next(s for s in stages if s.kind == "sample")
    layouts = {
        trained.fingerprint: Layout(4, shard=True, micro_batch=2),
        sampled.fingerprint: Layout(2, tensor_parallel=2),
    }
    execution = Execution(resources_for("paper"), layouts=layouts)
    for stage, gpus in GpuPool(execution).acquire([trained, sampled], limit=2):
        job = with_gpus(stage, execution.resources_of(stage), gpus)
        assert resolve_layout(stage, job, visible_cards(gpus)).layout == layouts[stage.fingerprint]
    judged = next(s for s in stages if s.kind == "evaluate")
    assert execution.resources_of(judged) == execution.resources


def test_without_a_gpu_the_layout_is_as_requested():
    stages = plan("table2", scale="toy", seeds=1, assignments=("tasks=toy-bm4",)).stages()
    trained = next(s for s in stages if isinstance(s, Distill))
    sampled = next(s for s in stages if s.kind == "sample")
    requested = Resources(ranks=2, shard="always", tensor_parallel=2)
    assert resolve_layout(trained, Resources(), cards=None) == Resources(shard="never", tensor_parallel=1)
    assert resolve_layout(trained, requested, cards=None) == replace(requested, tensor_parallel=1)
    assert resolve_layout(sampled, requested, cards=None) == replace(requested, shard="never")
    assert resolve_layout(trained, replace(requested, ranks=1), cards=None).shard == "never"


@pytest.mark.usefixtures("eight")
def test_a_stage_that_needs_more_gpus_than_there_are_is_refused():
    sampled = next(s for s in plan("table2", scale="paper", seeds=1).stages() if s.kind == "sample")
    with pytest.raises(InputError, match="needs 16 GPUs, and there are 8"):
        GpuPool(Execution(resources_for("paper", tensor_parallel=16))).acquire([sampled], limit=1)


@pytest.mark.usefixtures("eight")
def test_a_server_has_gpus_besides_the_ranks(monkeypatch):
    """Only if completions are sampled in training; the job decides as the driver did."""
    monkeypatch.setattr("repro.pipeline.gpu_pool.installed_gpus", lambda: [{"memory_gib": 79.6}] * 8)
    requested = resources_for("paper", vllm_server=2)
    stages = plan("table2", scale="paper", families=("gemma3",), seeds=1).stages()
    calibrated = next(s for s in stages if isinstance(s, Calibrate))
    on_policy, off_policy, sampled = (
        next(s for s in stages if isinstance(s, Distill) and s.config.method == "gkd-rkl"),
        next(s for s in stages if isinstance(s, Distill) and s.config.method == "sft"),
        next(s for s in stages if s.kind == "sample"),
    )
    acquired = dict(GpuPool(Execution(requested)).acquire([calibrated, on_policy], limit=2))
    for stage, gpus in acquired.items():
        job = with_gpus(stage, requested, gpus)
        again = resolve_layout(stage, job, visible_cards(gpus))
        assert (again.ranks, again.vllm_server) == (len(gpus) - 2, 2)
        assert again.gpus == gpus
    for stage in (off_policy, sampled):
        ((_, gpus),) = GpuPool(Execution(requested)).acquire([stage], limit=1)
        assert resolve_layout(stage, with_gpus(stage, requested, gpus), visible_cards(gpus)).vllm_server == 0
    with pytest.raises(InputError, match="--ranks 7 --vllm-server 2: this machine has 8 GPUs"):
        GpuPool(Execution(replace(requested, ranks=7)))


def test_too_few_gpus_for_a_server_are_refused_before_it_starts(tmp_path):
    short = Resources(vllm_server=2, gpus=("0", "1"))
    with pytest.raises(InputError, match=r"--vllm-server 2 and 1 rank\(s\): the stage has 2 GPU\(s\)"):
        make_context(tmp_path, tmp_path, silent, short)
    assert make_context(
        tmp_path, tmp_path, silent, replace(short, gpus=("0", "1", "2"))
    ).training.server == ServerPlacement(2, ("1", "2"))
    assert make_context(tmp_path, tmp_path, silent, Resources(vllm_server=1)).training.server == ServerPlacement(1)
    assert make_context(tmp_path, tmp_path, silent, Resources(gpus=("0",))).training.server is None


def test_without_a_gpu_a_server_is_started_if_training_samples_with_vllm():
    requested = Resources(vllm_server=1)
    stages = plan("table2", scale="toy", seeds=1, assignments=("tasks=toy-bm4", "engine=vllm")).stages()
    for stage in stages:
        samples = stage.kind == "calibrate" or (isinstance(stage, Distill) and stage.config.method == "gkd-rkl")
        assert resolve_layout(stage, requested, cards=None).vllm_server == int(samples)
    assert {
        resolve_layout(s, requested, cards=None).vllm_server for s in plan("table2", scale="toy", seeds=1).stages()
    } == {0}


def test_a_generating_process_sees_the_gpus_of_its_copy(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-a,5,6")
    assert [_worker_environment(n, 2, 2)["CUDA_VISIBLE_DEVICES"] for n in (0, 1)] == ["3,GPU-a", "5,6"]
    assert [_worker_environment(n, 4, 1)["CUDA_VISIBLE_DEVICES"] for n in range(4)] == ["3", "GPU-a", "5", "6"]


def test_a_process_of_a_stage_without_gpus_sees_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [_worker_environment(n, 2, 1)["CUDA_VISIBLE_DEVICES"] for n in (0, 1)] == ["", ""]


@pytest.mark.usefixtures("eight")
def test_more_ranks_than_gpus_is_one_line():
    with pytest.raises(InputError, match="--ranks 9: this machine has 8 GPUs"):
        GpuPool(Execution(Resources(ranks=9)))


@pytest.mark.parametrize(("visible", "backend"), [("", "local"), ("0,1", "slurm")])
def test_a_driver_without_gpus_allocates_none_and_limits_nothing(monkeypatch, visible, backend):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    pool = GpuPool(Execution(Resources(ranks=2), backend=backend))
    assert pool.acquire(["a"] * 50, limit=40) == [("a", ())] * 40


def test_visible_gpus_are_those_of_cuda_visible_devices(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 3, GPU-a ,")
    assert visible_gpus() == ("3", "GPU-a")


def test_as_many_stages_in_parallel_as_the_gpus_suffice_for():
    machine = {"cpus": 64, "gpus": [{"memory_gib": 80}] * 8}
    assert [workers_for("paper", machine, ranks) for ranks in (1, 4, 8)] == [8, 2, 1]
    assert workers_for("toy", {"cpus": 2, "gpus": []}) == 2


@pytest.mark.parametrize("backend", ["none", pytest.param("local", marks=pytest.mark.processes)])
def test_a_stage_on_a_machine_with_several_gpus_sees_and_records_one(monkeypatch, tmp_path, student, backend):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    stage = evaluate_stage(
        str(student),
        StageOptions(tasks=("toy-bm4",), items=2, assignments=("evaluation.completions_per_prompt=2",)),
    )
    run([stage], tmp_path, Execution(Resources(), workers=2, backend=backend), quiet=True, console=Console(quiet=True))
    record = json.loads((tmp_path / CACHE / stage.folder_name / "record.json").read_text())
    assert record["gpus"] == ["4"]
    assert record["gpu_hours"] == pytest.approx(record["seconds"] / 3600, abs=1e-4)  # both are rounded


def test_a_job_with_more_gpus_than_ranks_uses_the_first(monkeypatch, tmp_path, student):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    stage = evaluate_stage(
        str(student),
        StageOptions(tasks=("toy-bm4",), items=2, assignments=("evaluation.completions_per_prompt=2",)),
    )
    run_stage(stage, tmp_path, Resources())
    assert json.loads((tmp_path / stage.folder_name / "record.json").read_text())["gpus"] == ["6"]


@pytest.mark.parametrize(("gpus", "executor"), [(("GPU-lost",), ""), ((), "slurm")])
def test_a_stage_whose_gpu_cannot_be_used_fails_instead_of_computing_on_the_cpu(monkeypatch, tmp_path, gpus, executor):
    """A GPU that has dropped off the bus, a node whose driver is broken, or a Slurm job that requested no GPU."""
    import torch

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # run_stage changes it: restored after the test
    monkeypatch.setenv("SUBMITIT_EXECUTOR", executor)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    stage = plan("table2", scale="small", seeds=1).stages()[0]
    outcome = run_stage(stage, tmp_path, resources_for("small", gpus=gpus))
    assert "its GPU cannot be used: " in outcome["stage_error"]
    monkeypatch.setattr(torch.version, "cuda", None)  # an environment without CUDA: a CPU is what it is for
    check_gpu(stage, resources_for("small", gpus=gpus))
