"""A training beside which vLLM sleeps has a process of its own where stages share one (`--cluster none`)."""

import json
import os

import pytest
from rich.console import Console

from repro.pipeline import distributed
from repro.pipeline import run_stage as job
from repro.pipeline.cluster import Execution
from repro.pipeline.run import run
from repro.pipeline.run_stage import run_stage, sleeps_beside_training
from repro.planner.resources import Resources
from repro.stages.artifact import CACHE
from repro.system.child_processes import WAS_KILLED
from repro.workflow.own_models import StageOptions, distill_stage, evaluate_stage

ON_GPU, WITH_SERVER = Resources(gpus=("GPU-1",)), Resources(gpus=("GPU-1", "GPU-2"), vllm_server=1)


def distillation(student, teacher, engine, seed=0):
    small = ("gkd_rkl.steps=2", "gkd_rkl.sequences_per_step=4", "gkd_rkl.max_completion_tokens=6", f"engine={engine}")
    options = StageOptions(tasks=("toy-bm4",), items=4, assignments=small, seed=seed)
    return distill_stage(str(student), str(teacher), "gkd-rkl", options)


def weights(cache, stage):
    return (cache / stage.folder_name / "model" / "model.safetensors").read_bytes()


def test_only_a_training_with_a_sleeping_engine_needs_it(student, teacher):
    with_vllm, without = (distillation(student, teacher, engine) for engine in ("vllm", "transformers"))
    sampling = evaluate_stage(str(student), StageOptions(tasks=("toy-bm4",), items=2, assignments=("engine=vllm",)))
    assert sleeps_beside_training(with_vllm, ON_GPU)
    assert not sleeps_beside_training(with_vllm, WITH_SERVER)
    assert not sleeps_beside_training(with_vllm, Resources())  # a CPU's engine does not sleep
    assert not sleeps_beside_training(without, ON_GPU)
    assert not sleeps_beside_training(sampling, ON_GPU)


@pytest.mark.processes
def test_trainings_of_one_run_in_separate_processes_give_the_same_models(student, teacher, tmp_path, monkeypatch):
    stages = [distillation(student, teacher, "transformers", seed) for seed in (0, 1)]
    for stage in stages:
        assert run_stage(stage, tmp_path / "shared", Resources()) == {"built": True}
    starts = []
    separate = distributed.separate_function

    def noted(stage, context):
        starts.append((stage.seed, os.getpid()))
        return separate(stage, context)

    def in_this_process(*_):
        raise AssertionError("trained in the driver's process")

    monkeypatch.setenv("RANK", "0")  # left by a training of this process
    monkeypatch.setattr(job, "separate_function", noted)
    monkeypatch.setattr(job, "function_for", in_this_process)
    monkeypatch.setattr(job, "sleeps_beside_training", lambda stage, resources: True)
    execution = Execution(Resources(), workers=1, backend="none")
    run(stages, tmp_path / "out", execution, quiet=True, console=Console(quiet=True))
    assert starts == [(0, os.getpid()), (1, os.getpid())]
    for stage in stages:
        assert weights(tmp_path / "out" / CACHE, stage) == weights(tmp_path / "shared", stage)
        summaries = [
            json.loads((cache / stage.folder_name / "summary.json").read_text())
            for cache in (tmp_path / "out" / CACHE, tmp_path / "shared")
        ]
        assert summaries[0] == summaries[1]


@pytest.mark.parametrize("is_alone", ["driver", "SUBMITIT_EXECUTOR"])
def test_a_stage_with_a_process_of_its_own_gets_no_second_one(student, teacher, tmp_path, monkeypatch, is_alone):
    stage = distillation(student, teacher, "transformers")
    monkeypatch.setattr(job, "sleeps_beside_training", lambda stage, resources: True)
    monkeypatch.setattr(job, "exit_with_parent", lambda pid: None)
    monkeypatch.setattr(job, "function_for", lambda stage, context: lambda out: {"trained_in": os.getpid()})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if is_alone == "SUBMITIT_EXECUTOR":
        monkeypatch.setenv(is_alone, "slurm")
    assert run_stage(stage, tmp_path, Resources(), driver=1 if is_alone == "driver" else None) == {"built": True}
    assert json.loads((tmp_path / stage.folder_name / "summary.json").read_text()) == {"trained_in": os.getpid()}


@pytest.mark.processes
def test_its_error_is_the_stages(student, teacher, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(job, "sleeps_beside_training", lambda stage, resources: True)
    stage = distillation(student, teacher, "transformers")
    (folder := tmp_path / "stub" / "trl").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('CuMem allocator')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "stub"), os.environ.get("PYTHONPATH", "")]))
    assert run_stage(stage, tmp_path, Resources()) == {"stage_error": "CuMem allocator"}
    assert "Traceback" in capfd.readouterr().err
    (folder / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert run_stage(stage, tmp_path, Resources()) == {"stage_error": f"its process {WAS_KILLED}"}
