"""Which GPUs a stage sees: as many as it has ranks, and none that another stage has."""

import json

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.machine import visible_gpus
from repro.pipeline.cluster import Cluster
from repro.pipeline.engine import Engine, Gpus
from repro.pipeline.job import run_stage
from repro.pipeline.resources import Resources
from repro.pipeline.run import CACHE, run
from repro.pipeline.single import Wishes, evaluate_stage
from repro.recipes.scales import workers_for


def engine(ranks, where="local"):
    return Engine(where, Cluster(), workers=8, resources=Resources(ranks=ranks), argv=[])


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,GPU-7")


@pytest.mark.usefixtures("eight")
def test_no_gpu_is_lent_twice_and_all_come_back():
    gpus = Gpus(engine(ranks=3))
    first, second = gpus.lend(), gpus.lend()
    assert (first, second) == (("0", "1", "2"), ("3", "4", "5"))
    assert gpus.stages == 0
    gpus.give_back(first)
    assert gpus.stages == 1
    assert set(gpus.lend()).isdisjoint(second)


@pytest.mark.usefixtures("eight")
def test_more_ranks_than_gpus_is_one_line():
    with pytest.raises(InputError, match="--ranks 9: this machine has 8 GPUs"):
        Gpus(engine(ranks=9))


@pytest.mark.parametrize(("told", "where"), [("", "local"), ("0,1", "slurm")])
def test_without_gpus_of_its_own_the_driver_lends_none_and_limits_nothing(monkeypatch, told, where):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    gpus = Gpus(engine(ranks=2, where=where))
    assert gpus.lend() == ()
    assert gpus.stages > 1000


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
        "toy:qwen3-student", Wishes(("toy-bm4",), None, 2, None, ["evaluation.completions_per_prompt=2"], 0)
    )
    run([stage], tmp_path, workers=2, resources=Resources(), quiet=True, console=Console(quiet=True), where=where)
    record = json.loads((tmp_path / CACHE / stage.folder_name / "record.json").read_text())
    assert record["gpus"] == ["4"]
    assert record["gpu_hours"] == round(record["seconds"] / 3600, 4)


def test_a_job_with_more_gpus_than_ranks_uses_the_first(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    stage = evaluate_stage(
        "toy:qwen3-student", Wishes(("toy-bm4",), None, 2, None, ["evaluation.completions_per_prompt=2"], 0)
    )
    run_stage(stage, tmp_path, Resources(), None, [])
    assert json.loads((tmp_path / stage.folder_name / "record.json").read_text())["gpus"] == ["6"]
