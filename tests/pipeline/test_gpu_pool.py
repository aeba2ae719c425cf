"""Which GPUs a stage sees: as many as it has ranks, and none that another stage has."""

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
from repro.pipeline.run_stage import run_stage
from repro.planner.placement import Cards
from repro.planner.resources import Resources, resources_for
from repro.planner.scales import workers_for
from repro.progress import silent
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Distill
from repro.stages.artifact import CACHE
from repro.system.hardware import visible_gpus
from repro.workflow.own_models import StageOptions, evaluate_stage


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,GPU-7")


@pytest.mark.usefixtures("eight")
def test_no_gpu_is_lent_twice_and_all_come_back():
    gpus = GpuPool(Resources(ranks=3))
    stages = plan("table2", scale="toy", seeds=1).stages()[:3]
    (_, first), (_, second) = gpus.acquire(stages, limit=8)
    assert (first, second) == (("0", "1", "2"), ("3", "4", "5"))
    assert gpus.acquire(stages, limit=8) == []
    gpus.release(first)
    ((started, third),) = gpus.acquire(stages, limit=8)
    assert started == stages[0]
    assert set(third).isdisjoint(second)


@pytest.mark.usefixtures("eight")
def test_a_stage_gets_what_holds_it_and_is_not_overtaken(monkeypatch):
    """A 12B calibration wants two 80 GB GPUs, a 1.7B student one; what waits for GPUs keeps its place."""
    monkeypatch.setattr("repro.pipeline.gpu_pool.gpus", lambda: [{"memory_gib": 79.6}] * 8)
    stages = plan("table2", scale="paper", families=("all",), seeds=1).stages()
    large = next(s for s in stages if isinstance(s, Calibrate) and s.teacher.name == "google/gemma-3-12b-it")
    small = next(s for s in stages if isinstance(s, Distill) and s.student.name == "Qwen/Qwen3-1.7B")
    gpus = GpuPool(resources_for("paper"))
    assert [len(lent) for _, lent in gpus.acquire([large, small, large, small], limit=3)] == [2, 1, 2]
    assert [len(lent) for _, lent in gpus.acquire([small, large, small], limit=9)] == [1, 2]
    assert gpus.acquire([large, small], limit=9) == []
    resources = resolve_layout(large, resources_for("paper"), Cards(2, 79.6))
    assert (resources.ranks, resources.shard, resources.tensor_parallel) == (2, "always", 1)
    again = resolve_layout(large, replace(resources_for("paper"), ranks=2, gpus=("4", "5")), Cards(2, 79.6))
    assert replace(again, gpus=()) == resources  # the job decides as the driver did


def test_without_a_gpu_only_what_was_asked_for_is_done():
    stages = plan("table2", scale="toy", seeds=1, assignments=("tasks=toy-bm4",)).stages()
    trained = next(s for s in stages if isinstance(s, Distill))
    drawn = next(s for s in stages if s.does == "sample")
    asked = Resources(ranks=2, shard="always", tensor_parallel=2)
    assert resolve_layout(trained, Resources(), None) == Resources(shard="never", tensor_parallel=1)
    assert resolve_layout(trained, asked, None) == replace(asked, tensor_parallel=1)
    assert resolve_layout(drawn, asked, None) == replace(asked, shard="never")
    assert resolve_layout(trained, replace(asked, ranks=1), None).shard == "never"


@pytest.mark.usefixtures("eight")
def test_a_stage_that_wants_more_gpus_than_there_are_is_refused_and_does_not_wait():
    sampled = next(s for s in plan("table2", scale="paper", seeds=1).stages() if s.does == "sample")
    with pytest.raises(InputError, match="needs 16 GPUs, and there are 8"):
        GpuPool(resources_for("paper", tensor_parallel=16)).acquire([sampled], limit=1)


@pytest.mark.usefixtures("eight")
def test_a_server_has_gpus_beside_the_ranks(monkeypatch):
    """Only where completions are drawn while training; the job decides as the driver did."""
    monkeypatch.setattr("repro.pipeline.gpu_pool.gpus", lambda: [{"memory_gib": 79.6}] * 8)
    asked = resources_for("paper", vllm_server=2)
    stages = plan("table2", scale="paper", families=("gemma3",), seeds=1).stages()
    calibrated = next(s for s in stages if isinstance(s, Calibrate))
    own, off, sampled = (
        next(s for s in stages if isinstance(s, Distill) and s.config.method == "gkd-rkl"),
        next(s for s in stages if isinstance(s, Distill) and s.config.method == "sft"),
        next(s for s in stages if s.does == "sample"),
    )
    lent = dict(GpuPool(asked).acquire([calibrated, own], limit=2))
    for stage, gpus in lent.items():
        job = with_gpus(stage, asked, gpus)
        again = resolve_layout(stage, job, visible_cards(gpus))
        assert (again.ranks, again.vllm_server) == (len(gpus) - 2, 2)
        assert again.gpus == gpus
    for stage in (off, sampled):
        ((_, gpus),) = GpuPool(asked).acquire([stage], limit=1)
        assert resolve_layout(stage, with_gpus(stage, asked, gpus), visible_cards(gpus)).vllm_server == 0
    with pytest.raises(InputError, match="--ranks 7 --vllm-server 2: this machine has 8 GPUs"):
        GpuPool(replace(asked, ranks=7))


def test_too_few_gpus_for_a_server_are_told_before_it_is_started(tmp_path):
    short = Resources(vllm_server=2, gpus=("0", "1"))
    with pytest.raises(InputError, match=r"--vllm-server 2 and 1 rank\(s\): the stage has 2 GPU\(s\)"):
        make_context(tmp_path, tmp_path, silent, short)
    assert make_context(
        tmp_path, tmp_path, silent, replace(short, gpus=("0", "1", "2"))
    ).training.server == ServerPlacement(2, ("1", "2"))
    assert make_context(tmp_path, tmp_path, silent, Resources(vllm_server=1)).training.server == ServerPlacement(1)
    assert make_context(tmp_path, tmp_path, silent, Resources(gpus=("0",))).training.server is None


def test_without_a_gpu_a_server_is_started_where_training_draws_by_vllm():
    asked = Resources(vllm_server=1)
    stages = plan("table2", scale="toy", seeds=1, assignments=("tasks=toy-bm4", "engine=vllm")).stages()
    for stage in stages:
        draws = stage.does == "calibrate" or (isinstance(stage, Distill) and stage.config.method == "gkd-rkl")
        assert resolve_layout(stage, asked, None).vllm_server == int(draws)
    assert {resolve_layout(s, asked, None).vllm_server for s in plan("table2", scale="toy", seeds=1).stages()} == {0}


def test_a_generating_process_sees_the_gpus_of_its_copy(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-a,5,6")
    assert [_worker_environment(n, 2, 2)["CUDA_VISIBLE_DEVICES"] for n in (0, 1)] == ["3,GPU-a", "5,6"]
    assert [_worker_environment(n, 4, 1)["CUDA_VISIBLE_DEVICES"] for n in range(4)] == ["3", "GPU-a", "5", "6"]


@pytest.mark.usefixtures("eight")
def test_more_ranks_than_gpus_is_one_line():
    with pytest.raises(InputError, match="--ranks 9: this machine has 8 GPUs"):
        GpuPool(Resources(ranks=9))


@pytest.mark.parametrize(("told", "where"), [("", "local"), ("0,1", "slurm")])
def test_without_gpus_of_its_own_the_driver_lends_none_and_limits_nothing(monkeypatch, told, where):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    gpus = GpuPool(Resources(ranks=2), enabled=where != "slurm")
    assert gpus.acquire(["a"] * 50, limit=40) == [("a", ())] * 40


def test_what_cuda_is_told_is_what_is_seen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 3, GPU-a ,")
    assert visible_gpus() == ("3", "GPU-a")


def test_as_many_stages_side_by_side_as_the_gpus_suffice_for():
    machine = {"cpus": 64, "gpus": [{"memory_gib": 80}] * 8}
    assert [workers_for("paper", machine, ranks) for ranks in (1, 4, 8)] == [8, 2, 1]
    assert workers_for("toy", {"cpus": 2, "gpus": []}) == 2


@pytest.mark.parametrize("where", ["none", "local"])
def test_a_stage_on_a_machine_of_several_sees_one_and_is_charged_for_one(monkeypatch, tmp_path, where):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    stage = evaluate_stage(
        "toy:qwen3-student",
        StageOptions(tasks=("toy-bm4",), items=2, assignments=("evaluation.completions_per_prompt=2",)),
    )
    run([stage], tmp_path, Execution(Resources(), workers=2, backend=where), quiet=True, console=Console(quiet=True))
    record = json.loads((tmp_path / CACHE / stage.folder_name / "record.json").read_text())
    assert record["gpus"] == ["4"]
    assert record["gpu_hours"] == round(record["seconds"] / 3600, 4)


def test_a_job_with_more_gpus_than_ranks_uses_the_first(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    stage = evaluate_stage(
        "toy:qwen3-student",
        StageOptions(tasks=("toy-bm4",), items=2, assignments=("evaluation.completions_per_prompt=2",)),
    )
    run_stage(stage, tmp_path, Resources())
    assert json.loads((tmp_path / stage.folder_name / "record.json").read_text())["gpus"] == ["6"]
