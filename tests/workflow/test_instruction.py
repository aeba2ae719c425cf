"""What follows each question of the user's file: by default the form that is graded, or what the user says."""

import json
import shutil

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.models.loading import locate
from repro.pipeline.stage_inputs import read_items
from repro.stages import Evaluate
from repro.tasks import registry
from repro.tasks.prompts import INSTRUCTIONS
from repro.workflow.own_models import StageOptions, distill_stage, evaluate_stage, traps_stage
from repro.workflow.row_notices import instruction_notices, training_notices
from repro.workflow.stage_plan import print_stage_plan

STUDENT = "toy:qwen3-student"


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"{n} + 1 = ?", "answer": n + 1}) + "\n" for n in range(8)))
    return file


def options(rows, instruction=None, task="file-numeric"):
    return StageOptions(tasks=(task,), data=rows, split="all", instruction=instruction)


def prompts(stage):
    return {item.id: item.prompt for item in read_items(stage.data)}


def test_the_instruction_of_the_user_takes_the_place_of_the_kinds(rows):
    plain, default = (prompts(evaluate_stage(STUDENT, options(rows, text))) for text in ("", None))
    brief = prompts(evaluate_stage(STUDENT, options(rows, "Answer in a word.")))
    assert plain.keys() == default.keys() == brief.keys(), "items are paired across instructions"
    for item_id, question in plain.items():
        assert question.endswith("+ 1 = ?")
        assert default[item_id] == f"{question}\n\n{INSTRUCTIONS['numeric']}"
        assert brief[item_id] == f"{question}\n\nAnswer in a word."


def test_an_instruction_is_part_of_the_identity_and_its_absence_is_not(rows):
    default, plain, brief = (evaluate_stage(STUDENT, options(rows, text)) for text in (None, "", "Answer in a word."))
    assert "instruction" not in default.data[0].identity()
    assert plain.data[0].identity() == {**default.data[0].identity(), "instruction": ""}
    assert len({stage.fingerprint for stage in (default, plain, brief)}) == 3
    same = evaluate_stage(STUDENT, options(rows, INSTRUCTIONS["numeric"]))
    assert same.fingerprint == default.fingerprint


def test_a_stage_process_and_its_record_have_the_instruction(rows):
    stage = evaluate_stage(STUDENT, options(rows, ""))
    passed_on = Evaluate.model_validate_json(stage.model_dump_json())
    assert prompts(passed_on) == prompts(stage)
    assert passed_on.fingerprint == stage.fingerprint


def test_every_stage_that_answers_or_trains_has_it(rows):
    traps = traps_stage("toy:qwen3-teacher", STUDENT, options(rows, ""))
    sft = distill_stage(STUDENT, "toy:qwen3-teacher", "sft", options(rows, ""))
    for stage in (traps.on_policy, traps.off_policy, sft.samples, sft):
        assert stage.data[0].instruction == ""


@pytest.mark.parametrize("task", ["toy-csqa", "gsm8k"])
def test_a_task_with_its_own_prompt_refuses_an_instruction(task):
    with pytest.raises(
        InputError, match=f"--instruction: task {task} has a fixed prompt. Use --instruction with --task file-numeric"
    ):
        evaluate_stage(STUDENT, StageOptions(tasks=(task,), instruction=""))
    with pytest.raises(InputError, match=f"task {task} has a fixed prompt"):
        registry.get(task, instruction="")


def test_bytes_that_are_no_text_are_refused(rows):
    with pytest.raises(InputError, match="not valid Unicode"):
        evaluate_stage(STUDENT, options(rows, "caf\udce9"))


def test_the_kinds_instruction_is_said_before_the_run(rows):
    (line,) = instruction_notices(evaluate_stage(STUDENT, options(rows)))
    assert line.startswith("rows.jsonl: this instruction follows each question: 'Reason step by step")
    assert "--instruction ''" in line
    assert instruction_notices(evaluate_stage(STUDENT, options(rows, ""))) == []
    assert instruction_notices(evaluate_stage(STUDENT, StageOptions(tasks=("toy-csqa",)))) == []


def test_a_model_that_was_trained_under_another_instruction_is_named(rows, tmp_path):
    artifact = tmp_path / "cache" / "calibrate-0123456789abcdef"
    shutil.copytree(locate(STUDENT), artifact / "model")
    for trained, read, expected in (
        (None, "", ("'Reason step by step", "reads '' here")),
        ("Be brief.", None, ("'Be brief.'", "reads 'Reason")),
        ("", "", ()),
    ):
        data = [{"task": "file-numeric", "instruction": trained}, {"task": "toy-csqa", "instruction": None}]
        (artifact / "record.json").write_text(json.dumps({"config": {"kind": "calibrate", "data": data}}))
        stage = evaluate_stage(str(artifact / "model"), options(rows, read))
        lines = training_notices(stage, tmp_path / "cache")
        assert len(lines) == bool(expected)
        assert all(text in lines[0] for text in expected)
    assert training_notices(evaluate_stage(STUDENT, options(rows, "")), tmp_path / "cache") == []


def plan_of(stage, tmp_path):
    console = Console(width=60, record=True, quiet=False, file=(tmp_path / "printed").open("w"))
    print_stage_plan(stage, tmp_path, console)
    return console.export_text()


def test_a_plan_has_a_prompt_as_the_model_reads_it(rows, tmp_path):
    folder = shutil.copytree(locate(STUDENT), tmp_path / "model")
    (line,) = [
        text for text in plan_of(evaluate_stage(str(folder), options(rows)), tmp_path).splitlines() if "?" in text
    ]
    assert line.startswith(f"prompt of {folder}: <|im_start|>user\\n")
    assert line.endswith(r"put the final answer alone within \boxed{}.<|im_end|>\n<|im_start|>assistant\n")


def test_a_prompt_is_cut_in_the_middle_and_has_no_control_characters(tmp_path):
    file = tmp_path / "rows.jsonl"
    row = {"prompt": "\x1b[31mred\u202e " + "long " * 200, "answer": 1}
    file.write_text(json.dumps(row) + "\n")
    (line,) = [t for t in plan_of(evaluate_stage(STUDENT, options(file)), tmp_path).splitlines() if "prompt of" in t]
    assert line.startswith(f"prompt of {STUDENT}, before its chat template: \\x1b[31mred\\u202e long long")
    assert "characters ...]" in line
    assert line.endswith(r"put the final answer alone within \boxed{}.")
    assert len(line) < 450
