"""A teacher with another chat template than its student: the records say so, and it can be calibrated under the student's."""

import json
import shutil
from typing import Any

import pytest

from repro.calibration import trainer as module
from repro.errors import InputError
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer, locate
from repro.pipeline.preflight import check_pairs
from repro.pipeline.run_stage import run_stage
from repro.pipeline.stage_inputs import read_items
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Distill
from repro.workflow.own_models import StageOptions, calibrate_stage

SMALL = (
    "calibration.steps=1",
    "calibration.prompts_per_step=4",
    "calibration.group_size=2",
    "gkd_rkl.steps=1",
    "gkd_rkl.sequences_per_step=4",
    "train_items=4",
    "tasks=toy-bm4",
)


@pytest.fixture
def teacher(tmp_path):
    """The toy teacher with one system line more in its template."""
    folder = shutil.copytree(locate("toy:qwen3-teacher"), tmp_path / "teacher")
    template = folder / "chat_template.jinja"
    template.write_text("<|im_start|>system\nBe brief.<|im_end|>\n" + template.read_text())
    return str(folder)


def misled_stages(teacher, *settings):
    study = plan("table2", scale="toy", assignments=(*SMALL, f"families.qwen3.teacher={teacher}", *settings))
    student = next(row.stage.model for row in study.rows if row.method == "Misled")
    assert isinstance(student, Distill)
    assert isinstance(student.teacher, Calibrate)
    return student.teacher, student


def summary_of(stages, cache):
    for stage in stages:
        assert run_stage(stage, cache, Resources()) == {"built": True}
    return json.loads((cache / stages[-1].folder_name / "summary.json").read_text())


def test_a_teacher_that_was_calibrated_under_its_own_template_is_warned_of(tmp_path, teacher):
    summary = summary_of(misled_stages(teacher), tmp_path / "cache")
    assert "was calibrated under its own template" in summary["warnings"]["templates"]


def test_one_template_is_not_warned_of(tmp_path):
    summary = summary_of(misled_stages("toy:qwen3-teacher"), tmp_path / "cache")
    assert "templates" not in summary.get("warnings", {})


def test_the_setting_calibrates_under_the_students_template(tmp_path, teacher, monkeypatch):
    prompts: list[list[int]] = []

    class Spy(module.CalibrationTrainer):
        def _generate(self, batch: list[Any]) -> tuple[Any, ...]:
            output = super()._generate(batch)
            prompts.extend(output[0])
            return output

    monkeypatch.setattr(module, "CalibrationTrainer", Spy)
    stages = misled_stages(teacher, "calibration_template=student")
    summary = summary_of(stages, tmp_path / "cache")
    assert "templates" not in summary.get("warnings", {})
    student, own = load_tokenizer(locate("toy:qwen3-student")), load_tokenizer(locate(teacher))
    items = read_items(stages[0].data)
    assert {tuple(ids) for ids in prompts} == {tuple(prompt_token_ids(student, item.prompt)) for item in items}
    assert not {tuple(ids) for ids in prompts} & {tuple(prompt_token_ids(own, item.prompt)) for item in items}


def test_the_setting_is_identity_only_where_it_is_set():
    calibrated, _ = misled_stages("toy:qwen3-teacher")
    assert "prompts_of" not in calibrated.identity()
    moved, student = misled_stages("toy:qwen3-teacher", "calibration_template=student")
    assert moved.prompts_of == student.student
    assert moved.fingerprint != calibrated.fingerprint


def test_prompts_of_a_student_with_other_tokens_are_refused(tmp_path):
    options = StageOptions(tasks=("toy-bm4",), items=4, assignments=("calibration_template=student",))
    stage = calibrate_stage("toy:qwen3-teacher", options, target="toy:gemma3-student", eta="0.5")
    with pytest.raises(InputError, match="different tokenizers"):
        check_pairs([stage])
    answer = run_stage(stage, tmp_path / "cache", Resources())
    assert "have different tokenizers, so the teacher cannot read the student's prompts" in answer["input_error"]
