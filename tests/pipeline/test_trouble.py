"""Memory that runs out, causes that are found in a traceback, items that are in two splits, samplers that drifted."""

import json
from pathlib import Path

import pytest
import torch

from repro.errors import InputError
from repro.generation.mismatch import ALARM, check_rollouts, compare_log_probs
from repro.generation.rollouts import Rollout
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer, locate
from repro.pipeline import run_stage as job
from repro.pipeline.error_advice import memory_advice, root_cause
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Distill, Evaluate, TaskData
from repro.tasks.own_file import hash_data_file
from repro.training.history import alarms
from repro.workflow.contamination import check_contamination

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


def test_the_cause_is_the_exception_not_the_hint_behind_it():
    assert root_cause(RuntimeError(SUBMITIT)) == "RuntimeError: Engine core died: KV cache is gone"
    assert root_cause(RuntimeError("plain")) == "plain"
    assert root_cause(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        ValueError("No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
)
def test_out_of_memory_is_advice(stages, error):
    training = next(stage for stage in stages if isinstance(stage, Distill) and stage.config.method == "gkd-rkl")
    advice = memory_advice(error, training, Resources(micro_batch=4))
    assert advice.startswith("out of memory; estimated")
    assert "--micro-batch 1" in advice
    assert "--set gkd_rkl.max_completion_tokens" in advice
    drawing = next(stage for stage in stages if isinstance(stage, Evaluate))
    assert "--micro-batch" not in memory_advice(error, drawing, Resources())


def test_other_errors_are_not_taken_for_it(stages):
    assert memory_advice(RuntimeError("shape mismatch"), stages[0], Resources()) is None
    wrapped = RuntimeError("engine failed")
    wrapped.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    assert memory_advice(wrapped, stages[0], Resources()) is not None


def test_probabilities_that_are_not_finite_are_told_as_such(stages):
    torch_says = RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    for kind, words in (
        (Calibrate, "training diverged. Lower the learning rate"),
        (Evaluate, "its weights are damaged"),
    ):
        stage = next(stage for stage in stages if isinstance(stage, kind))
        assert words in job.user_message(torch_says, stage, Path(), Resources())["stage_error"]
    with pytest.raises(RuntimeError, match="probability tensor contains"):  # these are its words
        torch.multinomial(torch.tensor([float("nan"), 0.5]), 1)


def test_a_stage_out_of_memory_leaves_nothing_and_resumes(stages, tmp_path, monkeypatch, capsys):
    stage = next(stage for stage in stages if isinstance(stage, Evaluate))
    body_of = job.function_for

    def starve(out):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(job, "function_for", lambda stage, place: starve)
    outcome = run_stage(stage, tmp_path, Resources())
    assert outcome["stage_error"].startswith("out of memory")
    assert "Traceback" in capsys.readouterr().err  # in the log, not on the screen
    assert not (tmp_path / stage.folder_name).exists()
    monkeypatch.setattr(job, "function_for", body_of)
    assert run_stage(stage, tmp_path, Resources()) == {"built": True}


def test_a_study_is_clean(stages):
    assert check_contamination(stages) == {"evaluation_items": 4, "training_items": 8, "shared": 0}
    assert check_contamination([s for s in stages if isinstance(s, Evaluate)])["training_items"] == 0


def test_an_evaluation_item_that_another_task_trains_on_is_refused(stages, tmp_path):
    """All of Vicuna is for evaluation; a person's own rows that hold its questions are found, whatever their ids."""
    questions = [f"Tell me {n} things about rain." for n in range(20)]
    own, vicuna = tmp_path / "own.jsonl", tmp_path / "vicuna.jsonl"
    own.write_text("".join(json.dumps({"prompt": f"  {text.upper()}"}) + "\n" for text in questions))
    vicuna.write_text(
        "".join(
            json.dumps({"question_id": n, "category": "x", "turns": [text]}) + "\n" for n, text in enumerate(questions)
        )
    )
    data = {
        name: TaskData(task=name, split=split, n=None, seed=0, file=file, sha256=hash_data_file(file))
        for name, split, file in (("file-open", "train", own), ("vicuna", "test", vicuna))
    }
    trained = next(s for s in stages if isinstance(s, Calibrate)).model_copy(update={"data": (data["file-open"],)})
    graded = next(s for s in stages if isinstance(s, Evaluate)).model_copy(update={"data": (data["vicuna"],)})
    with pytest.raises(InputError, match=r"evaluation items of vicuna are also trained on, for example vicuna-"):
        check_contamination([trained, graded])


def test_the_samplers_gap():
    trainer = [torch.tensor([-1.0, -2.0], dtype=torch.float64), torch.tensor([-3.0], dtype=torch.float64)]
    found = compare_log_probs([[-1.0, -2.5], [-3.1]], trainer)
    assert found["gap"] == pytest.approx(0.2)
    assert found["largest"] == pytest.approx(0.5)
    assert found["tokens"] == 3
    assert "different weights" in found["alarm"]
    assert compare_log_probs([[-1.0, -2.0], [-3.0]], trainer)["alarm"] is None
    assert compare_log_probs([[float("nan"), -2.0], [-3.0]], trainer)["alarm"] is not None


def test_a_run_whose_sampler_drifted_says_so():
    assert alarms([{"vllm_log_prob_gap": 0.01}, {"loss": 1.0}]) == {}
    assert "alarm" in alarms([{"vllm_log_prob_gap": 0.01}, {"vllm_log_prob_gap": 2 * ALARM}])
    assert "alarm" in alarms([{"vllm_log_prob_gap": None}])


def test_rollouts_of_other_weights_raise_the_alarm():
    from repro.generation.transformers_engine import TransformersEngine

    student = locate("toy:qwen3-student")
    tokenizer = load_tokenizer(student)
    ids = prompt_token_ids(tokenizer, "2 + 2?")
    rollouts = []
    for sample, drawn in enumerate(TransformersEngine(student).generate([ids], 4, 12, 1.0, seed=1)[0]):
        rollouts.append(Rollout("a", "t", "2 + 2?", sample, ids, drawn.token_ids, drawn.log_probs, "", drawn.stop))
    own = check_rollouts(student, rollouts, 1.0)
    assert own["gap"] < 1e-4
    assert own["alarm"] is None
    assert check_rollouts(locate("toy:qwen3-target"), rollouts, 1.0)["alarm"] is not None
