"""One stage on the user's models: short names of its settings, refusals before work, a plan that runs nothing."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.workflow.own_models import StageOptions, calibrate_stage, distill_stage, evaluate_stage, sample_stage
from repro.workflow.stage_plan import print_stage_plan
from repro.workflow.stage_settings import check_read


def options(*assignments, tasks=("toy-bm4",)):
    return StageOptions(tasks=tasks, items=4, assignments=assignments)


def test_a_stage_knows_its_own_settings_by_their_short_names():
    assert evaluate_stage("toy:qwen3-student", options("completions_per_prompt=4")).config.completions_per_prompt == 4
    assert sample_stage("toy:qwen3-student", options("max_completion_tokens=9")).config.max_completion_tokens == 9
    calibrated = calibrate_stage("toy:qwen3-teacher", options("steps=7"), target=None, eta="-0.5")
    assert calibrated.config.steps == 7
    distilled = distill_stage("toy:qwen3-student", "toy:qwen3-teacher", "gkd-rkl", options("steps=3"))
    assert distilled.config.steps == 3


def test_options_from_python_take_a_path_as_text_and_refuse_text_for_a_tuple():
    assert StageOptions(data="rows.jsonl").data == Path("rows.jsonl")
    for wrong in ({"tasks": "file-numeric"}, {"fields": ("prompt=question",)}, {"assignments": "steps=3"}):
        with pytest.raises(InputError, match=rf"StageOptions: {next(iter(wrong))} is .* a tuple is needed"):
            StageOptions(**wrong)


def test_a_full_name_still_works_and_an_unknown_one_is_refused():
    assert evaluate_stage("toy:qwen3-student", options("evaluation.temperature=0.5")).config.temperature == 0.5
    with pytest.raises(InputError, match="no setting 'stepps'"):
        evaluate_stage("toy:qwen3-student", options("stepps=3"))
    with pytest.raises(InputError, match=r"no setting 'stpes' of this stage\. Did you mean steps\? It has steps, "):
        calibrate_stage("toy:qwen3-teacher", options("stpes=3"), target=None, eta="-0.5")
    with pytest.raises(InputError, match="--eta minus: not a number"):
        calibrate_stage("toy:qwen3-teacher", options(), target=None, eta="minus")


@pytest.mark.parametrize("stage", [lambda o: evaluate_stage("toy:qwen3-student", o)])
def test_an_open_ended_task_without_a_reward_model_is_refused_before_work(stage):
    with pytest.raises(InputError, match="task toy-dolly is open-ended: name a reward model"):
        stage(options("reward_model=", tasks=("toy-dolly",)))


def test_a_plan_says_what_would_run_and_runs_nothing(tmp_path):
    text = StringIO()
    stage = distill_stage("toy:qwen3-student", "toy:qwen3-teacher", "sft", options("steps=3"))
    print_stage_plan(stage, tmp_path, Console(file=text, width=200))
    printed = text.getvalue()
    assert "sample toy:qwen3-teacher: under a minute" in printed
    assert "items: toy-bm4 4 train" in printed
    assert "steps 3" in printed
    assert printed.rstrip().splitlines()[-1].startswith("Nothing was run.")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_refuses_a_divergence_between_two_vocabularies(tmp_path):
    stage = distill_stage("toy:qwen3-student", "toy:gemma3-teacher", "gkd-rkl", options("steps=3"))
    with pytest.raises(InputError, match="different tokenizers"):
        print_stage_plan(stage, tmp_path, Console(file=StringIO()))


@pytest.mark.parametrize(
    ("procedure", "assignments"),
    [
        ("calibrate", ("steps=3", "calibration.group_size=4", "calibration_template=student", "tasks=toy-bm4")),
        ("sft", ("steps=3", "sft.steps=3", "teacher_sampling.temperature=0.5", "engine=transformers")),
        ("gkd-rkl", ("divergence=jsd", "reward_while_distilling=yes", "reasoning=no")),
        ("diagnose", ("tail_k=4", "completions_per_prompt=2", "evaluation.temperature=0.5", "test_items=3")),
    ],
)
def test_settings_that_a_stage_reads_are_accepted(procedure, assignments):
    check_read(procedure, assignments)
    with pytest.raises(InputError, match=f"{procedure} does not read this setting"):
        check_read(procedure, ["judge=none"])
