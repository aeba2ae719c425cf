"""Advice on errors: out of memory, probabilities that are not finite, a full disk, causes found in a traceback."""

from pathlib import Path

import pytest
import torch
from submitit.core.utils import FailedJobError

from repro.pipeline import run_stage as job
from repro.pipeline.error_advice import disk_error, memory_advice, root_cause
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Distill, Evaluate

SUBMITIT = """Job (task=0) failed during processing with trace:
----------------------
Traceback (most recent call last):
  File "x.py", line 3, in f
    raise error
RuntimeError: Engine core died:
KV cache is gone.

----------------------
You can check full logs with 'job.stderr(0)' and 'job.stdout(0)'or at paths:
  - /somewhere/1_0_log.err
  - /somewhere/1_0_log.out"""


@pytest.fixture(scope="module")
def stages():
    return plan("table2", scale="toy", seeds=1, assignments=("tasks=toy-bm4", "train_items=8", "test_items=4")).stages()


def test_the_cause_is_the_exception_not_the_hint_after_it():
    assert root_cause(RuntimeError(SUBMITIT)) == "RuntimeError: Engine core died: KV cache is gone"
    assert root_cause(RuntimeError("plain")) == "plain"
    assert root_cause(RuntimeError()) == "RuntimeError"


def test_the_cause_is_the_last_line_of_the_traceback():
    dashes = "-" * 40
    text = f"Job (task=0) failed during processing with trace:\n{dashes}\nTraceback\n  x\nValueError: bad\n\n{dashes}\nYou can\n  - a.out"
    assert root_cause(FailedJobError(text)) == "ValueError: bad"
    assert root_cause(RuntimeError("one\ntwo")) == "two"
    assert root_cause(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "No space left"),
        (OSError(30, "Read-only file system"), "Read-only file system"),
        (OSError(2, "No such file or directory"), None),
        (ValueError("x"), None),
    ],
)
def test_errors_of_the_disk_are_recognised_whichever_library_met_them(error, message):
    cause = disk_error(error)
    assert cause is None if message is None else message in cause


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        ValueError("No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
)
def test_running_out_of_memory_gives_advice(stages, error):
    training = next(stage for stage in stages if isinstance(stage, Distill) and stage.config.method == "gkd-rkl")
    advice = memory_advice(error, training, Resources(micro_batch=4))
    assert advice.startswith("out of memory; estimated")
    assert "--micro-batch 1" in advice
    assert "--set gkd_rkl.max_completion_tokens" in advice
    evaluation = next(stage for stage in stages if isinstance(stage, Evaluate))
    assert "--micro-batch" not in memory_advice(error, evaluation, Resources())


def test_other_errors_give_no_memory_advice(stages):
    assert memory_advice(RuntimeError("shape mismatch"), stages[0], Resources()) is None
    wrapped = RuntimeError("engine failed")
    wrapped.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    assert memory_advice(wrapped, stages[0], Resources()) is not None


def test_probabilities_that_are_not_finite_are_reported_as_such(stages):
    error = RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    for kind, advice in (
        (Calibrate, "training diverged. Lower the learning rate"),
        (Evaluate, "its weights are damaged"),
    ):
        stage = next(stage for stage in stages if isinstance(stage, kind))
        assert advice in job.user_message(error, stage, Path(), Resources())["stage_error"]
    with pytest.raises(RuntimeError, match="probability tensor contains"):  # torch's message
        torch.multinomial(torch.tensor([float("nan"), 0.5]), 1)


def test_a_stage_out_of_memory_leaves_nothing_and_resumes(stages, tmp_path, monkeypatch, capsys):
    stage = next(stage for stage in stages if isinstance(stage, Evaluate))
    function_for = job.function_for

    def run_out_of_memory(out):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(job, "function_for", lambda stage, context: run_out_of_memory)
    result = run_stage(stage, tmp_path, Resources())
    assert result["stage_error"].startswith("out of memory")
    assert "Traceback" in capsys.readouterr().err  # in the log, not on the screen
    assert not (tmp_path / stage.folder_name).exists()
    monkeypatch.setattr(job, "function_for", function_for)
    assert run_stage(stage, tmp_path, Resources()) == {"built": True}
