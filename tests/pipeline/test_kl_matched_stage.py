"""A KL-matched calibration reads the artifact of the one that it matches, and its row knows if it did not get there."""

import json

from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.tables.measurements.idle import idle_rows

TINY = (
    "tasks=toy-bm4",
    "train_items=8",
    "test_items=4",
    "calibration.steps=1",
    "calibration.prompts_per_step=2",
    "calibration.group_size=4",
)


def test_the_stage_matches_its_input_and_an_update_that_is_too_short_makes_its_rows_idle(tmp_path):
    study = plan("controls", scale="toy", seeds=1, assignments=TINY)
    rows_of = {row.method: [row] for row in study.rows}
    matched = rows_of["Undistillable (KL-matched)"][0].stage.model
    knob = rows_of["Undistillable"][0].stage.model
    assert list(matched.inputs()) == [knob]
    for stage in (knob, matched):
        assert run_stage(stage, tmp_path, Resources()) == {"built": True}
    summary = json.loads((tmp_path / matched.folder_name / "summary.json").read_text())
    assert summary["match_kl"] > 0
    shown = {label: rows_of[label] for label in ("Undistillable (KL-matched)", "Misled (KL-matched)")}
    idle = idle_rows(shown, study.seeds, tmp_path)
    assert set(idle) == set(shown), "one step, and four, move no teacher"
    history = tmp_path / knob.folder_name / "history.jsonl"
    rows = [json.loads(line) | {"kl": 0.3} for line in history.read_text().splitlines()]
    for stage in (knob, matched):
        (tmp_path / stage.folder_name / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for figure, reasons in ((1.0, {}), (0.0, dict.fromkeys(shown, ("the teacher's KL to its start",)))):
        content = json.dumps(summary | {"matched": figure})
        (tmp_path / matched.folder_name / "summary.json").write_text(content)
        idle = idle_rows(shown, study.seeds, tmp_path)
        assert {row: tuple(text.partition(" is ")[0] for text in idle[row]["toy-bm4"]) for row in idle} == reasons
