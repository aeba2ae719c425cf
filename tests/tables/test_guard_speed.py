"""Speeds of guarded teachers from records of known seconds, and guards over their strengths from cells of known content."""

import json
from dataclasses import replace

import numpy as np
import pytest

from repro.printed.load import load
from repro.recipes.catalog import plan
from repro.recipes.labels import teacher_under, under
from repro.report.figures.guard_strengths import guard_strengths, points_of
from repro.report.figures.style import PAGE
from repro.report.merge import Part, Source
from repro.report.sections.matrix import cost_blocks, cost_grid
from repro.stages import Evaluate, Guarded, Rewrite, Sample
from repro.tables import MeasuredTable
from repro.tables.guard_metrics import GAIN
from repro.tables.measurements.guard_speed import guard_speeds
from repro.tables.verdicts.verdict import verdict

GUARDS = ["none", "knob", "answer-only", "poe"]


def write(cache, stage, tokens, seconds, phase="sampling", gpus=()):
    folder = cache / stage.folder_name
    folder.mkdir(parents=True, exist_ok=True)
    summary = {"tokens": tokens}
    if isinstance(stage, Evaluate):
        summary = {data.task: {"tokens": tokens / len(stage.data)} for data in stage.data}
        summary |= {"sampler": {"gap": 0.0, "tokens": 38}, "skipped_rows": {"toy-bm4": {"no key": 2}}}
    (folder / "summary.json").write_text(json.dumps(summary))
    spent = {"wall": 100 * seconds, "processor": seconds}
    phases = {"loading models": {"wall": 9.0, "processor": 9.0}, **({phase: spent} if phase else {})}
    (folder / "record.json").write_text(json.dumps({"phases": phases, "gpus": list(gpus)}))


@pytest.fixture
def study():
    return plan("guards", scale="toy", assignments=[f"matrix.guards={','.join(GUARDS)}", "matrix.attacks=sft"])


def write_all(study, cache, **knob):
    rows = {row.method: row.stage for row in study.rows}
    write(cache, rows[teacher_under("none")], 3000, 10.0)
    write(cache, rows[teacher_under("knob")], 3000, 20.0, **knob)
    rewritten = rows[teacher_under("answer-only")].completions
    assert isinstance(rewritten, Rewrite)
    assert isinstance(rewritten.completions, Sample)
    write(cache, rewritten, 800, 2.0, phase="rewriting")
    write(cache, rewritten.completions, 3000, 10.0)
    product = rows[teacher_under("poe")].completions
    assert isinstance(product, Guarded)
    write(cache, product, 1500, 25.0)


def test_a_speed_is_tokens_sampled_per_second_over_the_open_teachers(study, tmp_path):
    write_all(study, tmp_path)
    assert guard_speeds(study, tmp_path) == {
        "qwen3": pytest.approx({"none": 1.0, "knob": 0.5, "answer-only": 10 / 12, "poe": 0.2})
    }


def test_on_a_gpu_the_wall_counts(study, tmp_path):
    write_all(study, tmp_path, gpus=["H100"])
    assert guard_speeds(study, tmp_path)["qwen3"]["knob"] == pytest.approx(0.5 / 100)


def test_a_record_that_does_not_say_is_left_out(study, tmp_path):
    write_all(study, tmp_path, phase=None)
    assert set(guard_speeds(study, tmp_path)["qwen3"]) == {"none", "answer-only", "poe"}
    without_open = replace(study, rows=tuple(row for row in study.rows if row.guard != "none"))
    assert guard_speeds(without_open, tmp_path) == {}


def side(label):
    return {"label": label, "formula": "", "source": "", "shows_or_needs": "text"}


STRENGTHS = {
    "none": (0.9, 0.3),
    "poe(strength=0.2)": (0.88, 0.2),
    "poe(strength=0.8)": (0.6, -0.1),
    "idle": (0.9, None),
}


def part_with(guards, speed):
    table = MeasuredTable("guards", "toy", "qwen3", (0,))
    rng, items = np.random.default_rng(0), [f"item{n}" for n in range(50)]
    for guard in guards:
        utility, gain = STRENGTHS[guard]
        table.add(teacher_under(guard), "toy-bm4", "acc", items, np.full((1, 50), utility))
        if gain is not None:
            table.add(under("sft", guard), "toy-bm4", GAIN, items, gain + 0.05 * rng.standard_normal((1, 50)))
            table.add(under("sly", guard), "toy-bm4", GAIN, items, gain - 1 + 0.05 * rng.standard_normal((1, 50)))
    sides = {"guards": [side(g) for g in guards], "attacks": [side("sft"), side("sly")], "speed": speed}
    stored = load("guards")
    content = {"extras": {"matrix": sides}, "settings": {}, "examples": []}
    return Part((Source("r", content),), (table,), stored, verdict(table, stored, missing="inconclusive")), sides


def test_strengths_are_drawn_only_where_they_vary():
    single, _ = part_with(["none", "poe(strength=0.2)"], {})
    assert guard_strengths(single, PAGE) == []
    several, sides = part_with(list(STRENGTHS), {})
    (plot,) = guard_strengths(several, PAGE)
    assert [row["guard"] for row in plot.rows] == ["none", "poe(strength=0.2)", "poe(strength=0.8)"]
    assert {row["worst_attack"] for row in plot.rows} == {"sft"}
    points = points_of(several.measured[0], sides)
    assert points["poe(strength=0.8)"][0]["value"] == pytest.approx(-0.3)
    assert points["none"][0] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert points["poe(strength=0.2)"][1]["value"] == pytest.approx(0.2, abs=0.03)


def test_speed_is_a_column_of_the_costs_where_it_is_recorded():
    part, sides = part_with(["none", "poe(strength=0.2)"], {"qwen3": {"none": 1.0}})
    rows = cost_grid(part.measured[0], sides).rows
    assert [row["speed"].text for row in rows] == ["1.00", "not recorded"]
    assert "tokens per second" in cost_blocks(part.measured[0], sides)[1].text
    older = {**sides, "speed": {}}
    assert all("speed" not in row for row in cost_grid(part.measured[0], older).rows)
    assert "tokens per second" not in cost_blocks(part.measured[0], older)[1].text


@pytest.mark.parametrize(("loss", "word"), [(0.0, "kept"), (0.013, "not sure"), (0.028, "not sure"), (0.1, "lost")])
@pytest.mark.parametrize("trains", [True, False])
def test_one_training_seed_decides_only_wide_gaps_of_a_trained_teachers_score_as_in_verdicts(loss, word, trains):
    table = MeasuredTable("guards", "toy", "qwen3", (0,))
    items, spread_SN = [f"item{n}" for n in range(400)], np.tile((-0.04, 0.04), (1, 200))
    table.add(teacher_under("none"), "toy-bm4", "acc", items, 0.6 + spread_SN)
    table.add(teacher_under("knob"), "toy-bm4", "acc", items, 0.6 - loss + 0 * spread_SN)
    sides = {"guards": [side("none"), side("knob") | {"trains": trains}], "attacks": [side("sft")], "speed": {}}
    row = cost_grid(table, sides).rows[1]
    low, high = map(float, row["against the open teacher"].note.split(" to "))
    assert not low < -0.02 < high  # the interval alone would decide
    assert row["within 0.02"].text == (word if trains else "kept" if loss < 0.02 else "lost")
