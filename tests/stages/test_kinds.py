"""Identity: what changes a result changes the fingerprint, and nothing else does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from repro.calibration.config import CalibrationConfig
from repro.recipes.catalog import plan
from repro.stages import BaseModelRef, Calibrate, Distill, Evaluate, TaskData, stage_adapter, topological_order


@pytest.fixture(scope="module")
def study():
    return plan("table2", scale="toy", seeds=1)


def test_the_plan_covers_every_row_and_shares_stages(study):
    methods = [row.method for row in study.rows]
    assert len(methods) == len(set(methods)) == 12
    stages = study.stages()
    assert [stage.kind for stage in stages].count("calibrate") == 3
    assert [stage.kind for stage in stages].count("sample") == 1
    assert [stage.kind for stage in stages].count("distill") == 7
    assert [stage.kind for stage in stages].count("evaluate") == 12


def test_inputs_come_first(study):
    seen = set()
    for stage in study.stages():
        assert all(needed.fingerprint in seen for needed in stage.inputs())
        seen.add(stage.fingerprint)


def test_no_training_stage_sees_an_evaluation_split(study):
    for stage in study.stages():
        split = "test" if stage.kind == "evaluate" else "train"
        assert {part.split for part in stage.data} == {split}


def test_fingerprints_survive_json(study):
    for stage in study.stages():
        again = stage_adapter.validate_python(json.loads(json.dumps(stage.model_dump(mode="json"))))
        assert again.fingerprint == stage.fingerprint


def test_fingerprints_are_equal_in_another_process(study):
    code = (
        "from repro.recipes.catalog import plan;"
        "print([s.fingerprint for s in plan('table2', scale='toy', seeds=1).stages()])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str([stage.fingerprint for stage in study.stages()])


def calibrate(study) -> Calibrate:
    return next(stage for stage in study.stages() if isinstance(stage, Calibrate))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 5},
        {"target": BaseModelRef(name="x", revision="sha256:00")},
        {"data": (TaskData(task="toy-bm4", split="train", n=9, seed=0),)},
    ],
)
def test_settings_of_the_result_change_the_fingerprint(study, changes):
    stage = calibrate(study)
    assert stage.model_copy(update=changes).fingerprint != stage.fingerprint


@pytest.mark.parametrize("field", CalibrationConfig.model_fields)
def test_every_setting_of_a_calibration_is_identity(study, field):
    stage = calibrate(study)
    value = getattr(stage.config, field)
    if isinstance(value, bool | None):
        other = not value
    elif isinstance(value, str):
        choices = get_args(CalibrationConfig.model_fields[field].annotation) or (f"{value}, too",)
        other = next(choice for choice in choices if choice != value)
    else:
        other = value + 1
    if field == "style_text":  # of a calibration that reads it
        stage = stage.model_copy(update={"config": stage.config.model_copy(update={"reward": "style"})})
    config = stage.config.model_copy(update={field: other})
    assert stage.model_copy(update={"config": config}).fingerprint != stage.fingerprint


def test_rollouts_per_prompt_are_identity_and_one_of_them_is_what_ran_before(study):
    stage = next(row.stage.model for row in study.rows if row.method == "GKD-RKL")
    assert stage.config.rollouts_per_prompt == 1
    assert "rollouts_per_prompt" not in stage.identity()["config"]
    more = stage.model_copy(update={"config": stage.config.model_copy(update={"rollouts_per_prompt": 8})})
    assert more.identity()["config"]["rollouts_per_prompt"] == 8
    assert more.fingerprint != stage.fingerprint
    by_user = plan("table2", scale="toy", seeds=1, assignments=["gkd_rkl.rollouts_per_prompt=8"])
    assert next(row.stage.model for row in by_user.rows if row.method == "GKD-RKL").fingerprint == more.fingerprint


def test_a_change_upstream_changes_everything_downstream(study):
    evaluate = next(row.stage for row in study.rows if row.method == "Improve")
    student = evaluate.model
    assert isinstance(student, Distill)
    teacher = student.teacher.model_copy(update={"seed": 9})
    moved = evaluate.model_copy(update={"model": student.model_copy(update={"teacher": teacher})})
    assert moved.fingerprint != evaluate.fingerprint


def test_paths_and_names_are_not_identity():
    here = BaseModelRef(name="here", revision="sha256:ab")
    there = BaseModelRef(name="there", revision="sha256:ab")
    assert here.identity() == there.identity()
    data = TaskData(task="gsm8k", split="test", n=3, seed=0, file=Path("a.jsonl"), sha256="00")
    assert data.identity() == data.model_copy(update={"file": Path("b.jsonl")}).identity()
    assert data.identity() != data.model_copy(update={"sha256": "11"}).identity()


def test_an_unpinned_hub_model_is_identified_by_its_name():
    model = BaseModelRef(name="a/b", revision="unpinned")
    assert model.identity() != BaseModelRef(name="a/c", revision="unpinned").identity()


def test_seeds_share_items_but_nothing_trained():
    study = plan("table2", scale="toy", seeds=2)
    by_seed = {seed: [r.stage for r in study.rows if r.seed == seed] for seed in (0, 1)}
    assert [s.data for s in by_seed[0]] == [s.data for s in by_seed[1]]
    assert not {s.fingerprint for s in by_seed[0]} & {s.fingerprint for s in by_seed[1]}


def test_stored_completions_only_where_off_policy(study):
    on_policy = next(row.stage.model for row in study.rows if row.method == "GKD-RKL")
    off_policy = next(row.stage.model for row in study.rows if row.method == "SFT")
    with pytest.raises(ValueError, match="stored teacher completions"):
        Distill.model_validate(on_policy.model_dump() | {"samples": off_policy.samples.model_dump()})


def test_topological_order_has_each_identity_once(study):
    stages = study.stages()
    assert topological_order([*stages, *stages]) == stages
    assert isinstance(stages[-1], Evaluate)


def test_planning_imports_no_torch():
    code = (
        "import sys; from repro.recipes.catalog import plan; plan('table2', scale='toy', seeds=1);"
        "print([m for m in ('torch', 'transformers', 'datasets', 'trl') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("scale", ["toy", "paper"])
def test_the_grading_rules_are_part_of_what_reads_answers(scale) -> None:
    stages = plan("table2", scale=scale, families=("all",)).stages()
    for stage in stages:
        assert ("grading" in stage.identity()) == stage.reads_answers, stage.label
    assert {stage.kind for stage in stages if stage.reads_answers} == {
        "calibrate",
        "evaluate",
        "distill",
    }  # answer-only


def test_an_answer_only_distillation_reads_answers() -> None:
    distilled = [s for s in plan("controls", scale="paper").stages() if s.kind == "distill"]
    assert {("answer-only" in s.label, s.reads_answers) for s in distilled} == {(True, True), (False, False)}


def test_a_changed_copy_has_no_identity_of_the_original():
    data = TaskData(task="toy-bm4", split="train", n=10, seed=0)
    assert data.shared_identity == data.nested_identity()
    changed = data.model_copy(update={"n": 11})
    assert changed.shared_identity == changed.nested_identity() != data.shared_identity
