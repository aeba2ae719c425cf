"""The rungs of the study `leak`: gains per query, and what guards change, from cells of known content to section and figure."""

import json
from dataclasses import dataclass, replace
from statistics import mean

import numpy as np
import pytest

from repro.printed.claims import Claim
from repro.printed.load import load, load_claims
from repro.recipes.catalog import plan
from repro.recipes.labels import moved, teacher_under, under
from repro.recipes.study import Row
from repro.report.blocks import Bullets, Grid
from repro.report.conclusions import conclude
from repro.report.figures.leak import leak as draw
from repro.report.figures.style import PAGE
from repro.report.leak import steps_of
from repro.report.merge import Part, Source
from repro.report.sections.findings import findings_section
from repro.report.sections.leak import leak_section
from repro.report.sections.matrix import matrix_section
from repro.stages import Evaluate
from repro.tables import MeasuredTable
from repro.tables.guard_metrics import GAIN, GAIN_PER_1000
from repro.tables.measurements import leak as measurement
from repro.tables.measurements.leak import add_leak, count_queries
from repro.tables.verdicts.verdict import verdict

TASKS, ITEMS = ("toy-bm4", "toy-csqa"), tuple(f"item{n:02}" for n in range(40))
RUNGS = [
    {"rung": "answers", "attack": "own-answers"},
    {"rung": "text", "attack": "sft"},
    {"rung": "logits of own text", "attack": "gkd-rkl"},
]
GAINS = {
    under("own-answers", "none"): 0.3,
    under("sft", "none"): 0.2,
    under("gkd-rkl", "none"): 0.25,
    under("gkd-fkl", "none"): 0.26,
    under("own-answers", "wall"): 0.28,
    under("sft", "wall"): -0.4,
    under("own-answers", "veil"): 0.29,
}
QUERIES = {label: 20_000 if "gkd-rkl" in label else 5_000 for label in GAINS}


def side(label, level):
    return {"label": label, "formula": "f", "source": "s", "shows_or_needs": level}


SHOWN = {"none": "logits", "wall": "text", "veil": "answers"}
NEEDED = {"own-answers": "answers", "sft": "answers", "gkd-rkl": "logits"}
SIDES = {"guards": [side(*item) for item in SHOWN.items()], "attacks": [side(*item) for item in NEEDED.items()]}
FACTS = {"rungs": RUNGS, "queries": {"qwen3": QUERIES}}


@dataclass(frozen=True)
class Student:
    folder_name: str


def make_table(monkeypatch, tmp_path):
    """A table whose gains are known, measured by `add_leak` from stand-ins: the matrix's part is not what is tested."""
    table = MeasuredTable("leak", "toy", "qwen3", (0, 1, 2))
    rng = np.random.default_rng(0)

    def add_cells(table, rows_of, cache):
        for label, gain in GAINS.items():
            for task in TASKS:
                table.add(label, task, GAIN, ITEMS, gain + 0.1 * rng.standard_normal((3, len(ITEMS))))

    monkeypatch.setattr(measurement, "add_matrix", add_cells)
    monkeypatch.setattr(measurement, "_model", lambda row: row.stage.model)
    monkeypatch.setattr(measurement, "count_queries", lambda student, teacher, cache: QUERIES[student.folder_name])
    rows_of = {}
    for label in (*GAINS, *(teacher_under(g) for g in ("none", "wall", "veil"))):
        stage = Evaluate.model_construct(model=Student(label))
        guard = label.rpartition(" under ")[2]
        rows_of[label] = [Row("qwen3", label, seed, stage, guard=guard) for seed in (0, 1, 2)]
        rows_of[moved(label)] = rows_of[label]
    add_leak(table, rows_of, tmp_path)
    return table


@pytest.fixture
def table(monkeypatch, tmp_path):
    return make_table(monkeypatch, tmp_path)


@pytest.fixture
def part(table):
    content = {"extras": {"matrix": SIDES, "leak": FACTS}, "settings": {}, "examples": []}
    stored = load("leak")
    return Part((Source("result", content),), (table,), stored, verdict(table, stored, missing="inconclusive"))


def test_a_gain_per_thousand_queries_is_the_gain_over_them(table):
    for label, gain_of in GAINS.items():
        for task in TASKS:
            cells = [table.values[label, task, metric].values_SN for metric in (GAIN, GAIN_PER_1000)]
            assert np.allclose(cells[1], cells[0] / (QUERIES[label] / 1000), rtol=1e-12)
        assert table.mean(label, TASKS[0], GAIN) == pytest.approx(gain_of, abs=0.05)
    assert not any(label.startswith("Teacher") for label, _, metric in table.values if metric == GAIN_PER_1000)


def test_steps_pair_a_guard_with_the_open_teacher(table):
    steps = steps_of(table, SIDES, FACTS)
    assert [step.attack for step in steps["wall"]] == [rung["attack"] for rung in RUNGS]
    answers, text, own = steps["wall"]
    expected = np.mean(
        [table.mean(under("sft", "wall"), t, GAIN) - table.mean(under("sft", "none"), t, GAIN) for t in TASKS]
    )
    assert text.taken[0] == pytest.approx(expected)
    assert text.taken[1] < text.taken[0] < text.taken[2] < 0
    assert answers.per_1000[0] == pytest.approx(answers.gain.value / 5)
    assert (own.gain, own.per_1000, own.taken, own.queries) == (None, None, None, None)
    assert all(step.taken is None for step in steps["none"])


def test_an_idle_row_has_no_step(table):
    table.idle[under("sft", "wall")] = dict.fromkeys(TASKS, ("idle",) * 3)
    _, text, _ = steps_of(table, SIDES, FACTS)["wall"]
    assert text.gain.idle
    assert (text.per_1000, text.taken) == (None, None)


def test_the_section_has_gains_queries_and_closed_rungs(part):
    section = leak_section(part, "key")
    gains, per_1000, taken = [block for block in section.blocks if isinstance(block, Grid)][:3]
    assert [row["rung"].text for row in gains.rows] == [rung["rung"] for rung in RUNGS]
    assert gains.rows[1]["wall"].value == pytest.approx(-0.4, abs=0.03)
    assert "5,000 queries" in per_1000.rows[0]["none"].note
    assert "20,000 queries" in per_1000.rows[2]["none"].note
    assert "none" not in taken.rows[0]
    assert [row["veil"].text for row in taken.rows][1:] == ["closed", "closed"]
    assert "answers (own-answers, +0.2" in str(section.blocks)
    assert "veil: most on the rung answers" in str(section.blocks)
    assert "closed: text, logits of own text" in str(section.blocks)
    assert [row["veil"].text for row in gains.rows][1:] == ["closed", "closed"]
    (attacks,) = [block for block in section.blocks if isinstance(block, Grid) and "attack" in block.rows[0]][3:]
    assert [row["reads"].text for row in attacks.rows] == [rung["rung"] for rung in RUNGS]  # not the least it needs


def test_a_rung_that_was_not_run_is_not_closed(part):
    (table,) = part.measured
    for key in [key for key in table.values if key[0] == under("sft", "wall")]:
        del table.values[key]
    section = leak_section(part, "key")
    gains, per_1000, taken = [block for block in section.blocks if isinstance(block, Grid)][:3]
    for grid in (gains, per_1000, taken):
        assert [row["wall"].text for row in grid.rows][1:] == ["not run", "closed"]
    assert _lines(part)["wall"].endswith("; closed: logits of own text.")


def test_a_guard_leaks_most_where_it_surely_leaks(part):
    (table,) = part.measured
    assert _lines(part)["veil"].startswith("veil: most on the rung answers (own-answers, +0.2")
    assert "; no sure gain on: text; closed: logits of own text." in _lines(part)["wall"]
    for task in TASKS:
        del table.values[under("own-answers", "veil"), task, GAIN]
        table.add(under("own-answers", "veil"), task, GAIN, ITEMS, [[-0.5, 0.5] * 20] * 3)
    assert _lines(part)["veil"].startswith(
        "veil: no gain is surely above zero; the largest is on the rung answers (own-answers, +0.000); closed: "
    )
    assert "veil +0.000 (own-answers, not surely above 0)" in str(conclude(part.report, part.measured, (), SIDES))
    table.idle[under("own-answers", "veil")] = dict.fromkeys(TASKS, ("idle",) * 3)
    assert _lines(part)["veil"].startswith("veil: idle, so its rungs have no gains; closed: ")


def test_a_cell_of_the_matrix_that_was_not_run_is_not_called_not_shown(part):
    (table,) = part.measured
    for key in [key for key in table.values if key[0] == under("sft", "veil")]:
        del table.values[key]
    (grid, *_) = [block for block in matrix_section(part, "key").blocks if isinstance(block, Grid)]
    of_guard = {row["guard"].text: row for row in grid.rows}
    assert (of_guard["veil"]["sft"].text, of_guard["veil"]["sft"].note) == ("not run", "")  # answers are all it needs
    assert (of_guard["wall"]["gkd-rkl"].text, of_guard["wall"]["gkd-rkl"].note) == ("–", "not shown")
    assert of_guard["guards broken"]["own-answers"].text == "2 of 2"
    assert of_guard["guards broken"]["sft"].text == "0 of 1"  # the open teacher does not count, nor what was not run


def _lines(part):
    (bullets,) = [block for block in leak_section(part, "key").blocks if isinstance(block, Bullets)]
    return {line.partition(":")[0]: line for line in bullets.items}


def test_the_picture_has_every_number_in_words_and_data(part):
    (plot,) = draw(part, PAGE)
    assert len(plot.rows) == 9
    closed = [row for row in plot.rows if row["gain"] is None]
    assert {(row["guard"], row["rung"]) for row in closed} == {
        ("wall", "logits of own text"),
        ("veil", "text"),
        ("veil", "logits of own text"),
    }
    assert json.dumps(plot.rows)
    drawn = [
        line for line in plot.figure.axes[0].lines if line.get_color() in PAGE.series and len(line.get_xdata()) > 1
    ]
    assert drawn
    assert {line.get_linestyle() for line in drawn} == {"None"}  # nothing lies between two attacks
    assert f"text (sft) under wall: {plot.rows[4]['gain']:+.3f}" in plot.alt


def test_claims_are_judged_on_gains_and_queries(part):
    verdicts = {v.claim: v for v in part.report.claims}
    most, per_query = verdicts["leak-answers-are-most-of-the-text"], verdicts["leak-a-trace-is-worth-more-than-a-score"]
    assert (most.value, per_query.value) == ("reproduced", "reproduced")
    assert most.estimate == pytest.approx(0.3 - 0.8 * 0.2, abs=0.03)
    assert per_query.estimate == pytest.approx(0.26 / 5 - 0.25 / 20, abs=0.01)


def test_losses_are_not_compared_per_query(table):
    """A loss divided by more queries is a smaller loss, which says nothing for the attack that asks more."""
    for key in [(row, task, metric) for row, task, metric in table.values if metric in (GAIN, GAIN_PER_1000)]:
        table.values[key] = replace(table.values[key], values_SN=-abs(table.values[key].values_SN))
    conclusion = {v.claim: v for v in verdict([table], load("leak"), missing="inconclusive").claims}[
        "leak-a-trace-is-worth-more-than-a-score"
    ]
    assert conclusion.value == "not testable"
    assert conclusion.text.endswith("no gain in gkd-fkl under none or gkd-rkl under none to divide by queries")


def test_a_bound_on_the_gain_per_query_holds_without_any_gain(table):
    """A claim of the user's that a guard gives away little: a guard that gives away nothing is below the bound."""
    (stored,) = [c for c in load_claims("leak") if c.id == "leak-a-trace-is-worth-more-than-a-score"]
    fields = {"id": "little-per-query", "kind": "below", "high": 0.001, "right": ()}
    bound = Claim.model_validate(stored.model_dump() | fields | {"left": {"row": under("sft", "wall")}})
    assert table.mean(under("sft", "wall"), TASKS[0], GAIN) < 0
    (conclusion,) = verdict([table], load("leak"), [bound], missing="inconclusive").claims
    assert conclusion.value == "reproduced"


def test_what_was_found_names_the_worst_attack_of_each_guard(part):
    (table,) = part.measured
    table.idle[under("own-answers", "veil")] = dict.fromkeys(TASKS, ("idle",) * 3)
    (line,) = [line for line in conclude(part.report, part.measured, (), SIDES) if line.startswith("Largest gain")]
    none, wall = (
        mean(table.mean(under("own-answers", guard), task, GAIN) for task in TASKS) for guard in ("none", "wall")
    )
    assert line.endswith(f"by guard: none {none:+.3f} (own-answers), wall {wall:+.3f} (own-answers), veil idle.")
    assert line in str(findings_section(part, "key").blocks)
    for task in TASKS:
        for attack in ("sft", "sft-answers", "own-answers"):
            key = (under(attack, "wall"), task, GAIN)
            if key in table.values:
                table.values[key] = replace(table.values[key], values_SN=0 * table.values[key].values_SN - 2e-4)
    assert "wall +0.000 (" in conclude(part.report, part.measured, (), SIDES)[-2]


def test_queries_to_a_model_whose_idle_settings_differ_are_counted(tmp_path):
    """An artifact may have been recorded under another default of a setting that is no part of its identity."""
    study = plan("leak", scale="toy", assignments=["matrix.guards=none,knob", "matrix.attacks=sft"])
    rows = {row.method: row.stage.model for row in study.rows if row.stage.kind == "evaluate"}
    student, teacher = rows[under("sft", "knob")], rows[teacher_under("knob")]
    other = teacher.model_copy(update={"config": teacher.config.model_copy(update={"style_text": "of old"})})
    assert (other == teacher, other.folder_name == teacher.folder_name) == (False, True)
    folder = tmp_path / student.samples.folder_name
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"completions": 40}))
    assert count_queries(student, other, tmp_path) == 40
