"""Figures and sections of Table 5, Figures 1a, 3 and 4 and the failure modes; exported figure files."""

import csv
from dataclasses import replace

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.recipes.catalog import plan
from repro.recipes.studies import STUDIES, resolve
from repro.report.blocks import Cell, signed, signed_cell
from repro.report.figures.bars import bars
from repro.report.figures.export import save_figure
from repro.report.figures.knob import is_student, knob_position, line_style
from repro.report.figures.points import measured_points
from repro.report.figures.style import CSS_COLOURS, FILE
from repro.report.figures.verdicts import forest
from repro.report.html import html, names_of
from repro.report.markdown import markdown
from repro.report.merge import Part, Source, merge_sources
from repro.report.result import read_result
from repro.report.sections.build import build_sections
from repro.report.study_extras import losses
from repro.report.terminal import print_result
from repro.tables import MeasuredTable
from repro.tables.formatting import measured_rows

from .conftest import make_result, write_result

IDS = [f"item-{n}" for n in range(20)]
HALF = [[0.0, 1.0] * 10]
LOST = [[1.0] * 10 + [0.0] * 10]


def table(study, cells, ids=IDS):
    made = MeasuredTable(study, "toy", "qwen3", (0,))
    for row, metric, values, weights in cells:
        made.add(row, "toy-bm4", metric, ids, values, weights)
    return made


def stage(artifact, does, summary):
    return {
        "artifact": artifact,
        "stage": does,
        "kind": does,
        "label": artifact,
        "seconds": 1.0,
        "gpu_hours": 0.0,
        "peak_memory_gib": 1.0,
        "started": "",
        "ended": "",
        "summary": {"toy-bm4": summary},
    }


def line(kind, tokens=100, flops=1e9):
    return {
        "artifact": kind,
        "kind": kind,
        "label": f"<b>{kind}</b>",
        "hours": 0.5,
        "tokens": tokens,
        "flops": flops,
        "peak_memory_gib": 1.0,
    }


MODES = {"solved": 12, "lost": 10, "completions": 160, "hallucination": 140, "self_correction": 0, "degradation": 4}
BEFORE_RECHECK = {"prefixes": 3, "correct": 0.95, "committed": 0.5, "prefix_tokens": 12.0}
BY_FRACTION = [{"fraction": f, "correct": 0.9 - f, "committed": f, "prefix_tokens": 3.0} for f in (0.0, 0.25)]
COST = MeasuredTable("table5", "toy", "qwen3", (0,))
for _row, _hours in (("Student GKD w/ on-policy RKL", 0.5), ("Teacher calibration (RFT, LoRA)", 0.3)):
    COST.add(_row, "pipeline", "core_hours", ["eta -1", "eta +1"], [[_hours, _hours * 1.1]])
WORLDS = {
    "table5": (
        COST,
        {
            "extras": {
                "costs": {"unit": "core-hours", "lines": [line("calibrate"), line("gkd-rkl"), line("sft", None, None)]}
            }
        },
        ["Cost beside Table 5", "141.5", "not recorded", "--dry-run"],
    ),
    "figure1a": (
        table(
            "figure1a",
            [
                ("Student", "acc", HALF, None),
                *((row, "acc", HALF, None) for row in ("a", "Student of a", "b", "Student of b")),
                *((row, "gain", [[-0.1] * 20], None) for row in ("Student of a", "Student of b")),
                ("b over a", "shortfall", HALF, None),
            ],
        ),
        {"extras": {"parameters": {"qwen3": {"a": 8e9, "b": None}}}},
        ["gain by teacher", "size unknown"],
    ),
    "figure3": (
        table(
            "figure3", [(r, "acc", HALF, None) for r in ("Teacher", "Undistillable", "Student", "GKD-RKL", "Misled")]
        ),
        {},
        ["Teachers keep their accuracy, students lose it"],
    ),
    "figure4": (
        table(
            "figure4",
            [
                (row, "prefix_correct", HALF, LOST)
                for row in ("Teacher", "Teacher, 25% prefix", "Teacher, no prefix", "Misled")  # as they are measured
            ],
        ),
        {
            "settings": {"families": {"qwen3": {"teacher": "toy:teacher"}}, "prefixes": {"fractions": [0.25]}},
            "stages": [
                stage(
                    "continue-1",
                    "continue",
                    {"solved": 12, "lost": 10, "by_fraction": BY_FRACTION, "before_recheck": BEFORE_RECHECK},
                ),
                stage("continue-2", "continue", {"solved": 12, "lost": 0, "by_fraction": []}),
            ],
            "rows": [
                {"family": "qwen3", "method": "Teacher", "seed": 0, "artifact": "continue-1"},
                {"family": "qwen3", "method": "Undistillable", "seed": 0, "artifact": "continue-2"},
            ],
        },
        ["share of the student", "none was lost", "already committed", "before a re-check (3 prefixes)"],
    ),
    "failure-modes": (
        table(
            "failure-modes",
            [
                ("Student", "solved", HALF, None),
                ("Misled", "lost", HALF, LOST),
                ("Misled", "hallucination", HALF, LOST),
                ("Misled", "degradation", HALF, LOST),
            ],
        ),
        {
            "stages": [stage("classify-1", "classify", {**MODES, "rechecking": 0})],
            "rows": [{"family": "qwen3", "method": "Misled", "seed": 0, "artifact": "classify-1"}],
        },
        ["140 (88%)", "Named by rules", "cannot be seen in this world"],
    ),
    "losses": (
        table("losses", [(row, "acc", HALF, None) for row in ("Student", "GKD-RKL", "GKD-RKL, jsd")]),
        {
            "extras": {
                "losses": [
                    {"label": "rkl", "formula": "KL(p_S||p_T)", "settings": "", "source": "a paper"},
                    {"label": "jsd", "formula": "beta KL(p_T||m) & more", "settings": "beta=0.5", "source": "another"},
                ]
            }
        },
        ["Losses that were tried", "beta KL(p_T||m) &amp; more", "beta=0.5", "another"],
    ),
}


@pytest.fixture
def part_for():
    def make(study, **more) -> Part:
        measured, changes, _ = WORLDS[study]
        return merge_sources([Source("one", make_result(measured, **{"curves": [], **changes, **more}))])[0]

    return make


@pytest.mark.parametrize("study", WORLDS)
def test_the_page_and_its_brief_show_the_studys_own_section(study, part_for):
    part = part_for(study)
    built = [(part, "part1", build_sections(part, "part1"))]
    page, brief = html(built), markdown(built, "report.html")
    for phrase in WORLDS[study][2]:
        assert phrase in page
    assert "<b>calibrate" not in page  # a label is text
    assert study in ("figure1a", "figure3") or any(phrase in brief for phrase in WORLDS[study][2])
    assert not any(colour in page for colour in CSS_COLOURS)


def test_every_loss_that_a_row_names_is_defined(tmp_path):
    study = plan("losses", scale="toy", assignments=["losses=jsd(beta=0.3),top-k"])
    lines = losses(study, tmp_path)["losses"]
    assert {row.method for row in study.rows if row.method.startswith("GKD-RKL")} == {
        "GKD-RKL",
        *(f"GKD-RKL, {line['label']}" for line in lines[1:]),
    }
    assert [(line["label"], line["settings"]) for line in lines] == [
        ("rkl", ""),
        ("jsd(beta=0.3)", "beta=0.3"),
        ("top-k", "k=16"),
    ]
    assert all(line["formula"] and line["source"] for line in lines)


@pytest.mark.parametrize("study", [name for name in WORLDS if STUDIES[name].export])
def test_exported_figures_have_print_colours_and_data(study, part_for, tmp_path):
    plots = resolve(STUDIES[study].figures)(part_for(study), FILE)
    written = [path for plot in plots for path in save_figure(plot, tmp_path)]
    assert {path.suffix for path in written} == {".svg", ".png", ".csv"}
    assert not [path for path in (tmp_path / "figures").iterdir() if path.name.startswith(".")]
    for path in written:
        if path.suffix == ".svg":
            text = path.read_text(encoding="utf-8")
            assert not any(colour in text for colour in CSS_COLOURS)
        if path.suffix == ".csv":
            with path.open(encoding="utf-8") as stream:
                assert list(csv.DictReader(stream))


def test_that_toy_completions_are_short_is_said_at_toy_scale_alone(part_for):
    part = part_for("figure4")
    for scale in ("toy", "small"):
        (section,) = [
            section
            for section in build_sections(replace(part, report=replace(part.report, scale=scale)), "k")
            if section.title == "Prefixes"
        ]
        assert ("Toy completions" in section.blocks[0].text) == (scale == "toy")


def test_stages_are_neither_teachers_nor_students(part_for):
    """Table 5's rows are named after them."""
    table5 = MeasuredTable("table5", "toy", "qwen3", (0,))
    for row in ("Teacher calibration (RFT, LoRA)", "Student GKD w/ on-policy RKL"):
        table5.add(row, "pipeline", "core_hours", IDS, HALF)
    (plot,) = bars(replace(part_for("table5"), measured=(table5,)), FILE)
    assert "teachers (above)" not in plot.title


def test_a_line_over_prefixes_goes_from_left_to_right(part_for):
    (plot,) = resolve(STUDIES["figure4"].figures)(part_for("figure4"), FILE)
    lines = [list(line.get_xdata()) for axes in plot.figure.axes for line in axes.get_lines()]
    assert [0.0, 0.25] in lines
    assert all(xs == sorted(xs) for xs in lines)


def test_a_judge_is_named(part_for):
    settings = {"families": {"qwen3": {"teacher": "toy:teacher"}}, "judge": "org/judge"}
    part = part_for("failure-modes", settings=settings)
    assert "Named by the model org/judge" in html([(part, "part1", build_sections(part, "part1"))])


def test_a_served_judge_is_named_as_unpinned(part_for):
    settings = {"families": {"qwen3": {"teacher": "toy:teacher"}}, "judge": "http://127.0.0.1:8000/v1#org/judge"}
    part = part_for("failure-modes", settings=settings)
    page = html([(part, "part1", build_sections(part, "part1"))])
    assert (
        "Named by the model org/judge, served at http://127.0.0.1:8000/v1; its revision is unknown (unpinned)" in page
    )


def test_a_result_without_its_costs_says_so(part_for):
    part = part_for("table5", extras={})
    assert "no record of costs" in html([(part, "part1", build_sections(part, "part1"))])
    assert resolve(STUDIES["table5"].figures)(part, FILE) == []


def test_no_cost_is_below_zero(part_for):
    table = MeasuredTable("table5", "toy", "qwen3", (0,))
    for row, hours in (("Student GKD w/ on-policy RKL", (0.1, 4.0)), ("Teacher calibration (RFT, LoRA)", (2.0, 2.1))):
        table.add(row, "pipeline", "core_hours", ["eta -1", "eta +1"], [hours])
    part = replace(part_for("table5"), measured=(table,))
    (wide, narrow) = measured_points(table, table.values)
    assert wide["low"] == 0 < narrow["low"]
    assert measured_rows(table, metric="core_hours")[0]["pipeline"] == f"2.050 (0 to {wide['high']:.3f})"
    (plot,) = bars(part, FILE)
    assert plot.figure.axes[0].get_xlim()[0] == 0
    assert all(line.get_xdata()[0] >= 0 for line in plot.figure.axes[0].lines)


def test_no_share_has_an_interval_below_zero_or_above_one():
    table = MeasuredTable("eta-sweep", "toy", "qwen3", (0, 1, 2))
    for row, by_seed in (("low", (0.0, 0.1, 0.3)), ("wide", (0.1, 0.9, 0.5)), ("sure", (0.5, 0.5, 0.5))):
        table.add(row, "one", "acc", ["a", "b", "c"], [[score] * 3 for score in by_seed])
    low, wide, sure = (row["one"] for row in measured_rows(table))
    assert low.startswith("0.133 (0 to 0.")
    assert wide == "0.500 (0 to 1)"
    assert "±" in sure


def test_a_study_of_our_own_is_not_held_against_print():
    measured = MeasuredTable("leak", "toy", "qwen3", (0,))
    for row in ("Student", "no-teacher", "sft under none"):
        measured.add(row, "toy-bm4", "acc", IDS, HALF)
    (part,) = merge_sources([Source("one", make_result(measured))])
    built = [(part, "k", build_sections(part, "k"))]
    page, brief = html(built), markdown(built)
    assert "<title>Leaks by interface at toy scale</title>" in page
    assert "Questions of this kit about Distillation Traps and Guards" in page
    assert '<h3 id="k-measured-title">Measured <small' in page
    assert "In the paper" not in page
    assert "in the paper" not in brief
    assert "for orientation" not in page
    console = Console(record=True, width=200)
    print_result(list(part.measured), part.report, console)
    assert "in the paper" not in console.export_text()
    assert "own-answers under none &gt; no-teacher (qwen3): row" in page  # not run: by its statement, not its id
    assert "- own-answers under none > no-teacher (qwen3): row" in brief


def test_bars_have_a_legend_of_printed_numbers_only_if_some_are_printed():
    drawn = {}
    for study, rows in (("leak", ("no-teacher", "sft under none")), ("table2", ("Teacher", "Student"))):
        measured = MeasuredTable(study, "paper", "qwen3", (0,))
        for row in rows:
            measured.add(row, "csqa", "acc", IDS, HALF)
        (part,) = merge_sources([Source("one", make_result(measured))])
        (plot,) = bars(part, FILE)
        drawn[study] = [text.get_text() for legend in plot.figure.legends for text in legend.get_texts()]
    assert drawn == {"leak": [], "table2": ["printed in the paper"]}


def test_a_page_of_several_studies_names_each_scale_once(part_for):
    figures = [part_for(study) for study in ("figure1a", "failure-modes")]
    small = replace(figures[1], report=replace(figures[1].report, scale="small"))
    assert names_of(figures) == "Figure 1a, Failure modes at toy scale"
    assert names_of([*figures, small]) == "Figure 1a, Failure modes at toy scale, Failure modes at small scale"


def test_rows_of_guards_and_of_a_sweep_have_the_colours_of_the_knob():
    assert [
        knob_position(row) for row in ("Teacher under knob(strength=-0.3)", "sft under knob", "sft under none")
    ] == [
        "below",
        "below",
        "untouched",
    ]
    swept = [knob_position(row) for row in ("Teacher, eta -0.5", "GKD-RKL, eta +0", "SFT, eta +2")]
    assert swept == ["below", "zero", "above"]
    assert line_style("SFT, eta +2", FILE)["color"] == line_style("Improve", FILE)["color"]
    assert line_style("SFT", FILE)["color"] != line_style("SFT, eta +2", FILE)["color"]
    assert is_student("sft under reorder")
    assert is_student("no-teacher")
    assert is_student("No-teacher")
    assert not is_student("Teacher under reorder")


def test_off_policy_students_of_calibrated_teachers_have_the_colours_of_the_knob():
    methods = {row.method for row in plan("table2", scale="toy", seeds=1, assignments=["more_controls=yes"]).rows}
    for teacher, student in (("Distillable", "Improve"), ("Undistillable", "Misled")):
        rows = [method for method in methods if method.endswith(f" ({teacher})")]
        assert sorted(rows) == [f"GKD-FKL ({teacher})", f"SFT ({teacher})"]
        assert {knob_position(row) for row in rows} == {knob_position(student)} != {"untouched"}
        assert all(line_style(row, FILE) == line_style(student, FILE) for row in rows)
    assert line_style("SFT", FILE)["color"] != line_style("GKD-FKL", FILE)["color"]
    assert knob_position("SFT") == "untouched"


def test_a_zero_that_rounding_made_has_no_minus():
    assert (signed(-0.0004), signed(-0.0006), signed(0.25, 4)) == ("+0.000", "-0.001", "+0.2500")
    assert signed_cell(-0.0, -0.0001, 0.002) == Cell("+0.000", "+0.000 to +0.002", "", -0.0)


def test_a_long_statement_has_two_lines_that_can_be_read(part_for):
    report = part_for("table5").report
    (judged,) = [v for v in report.claims if v.estimate is not None]
    both = replace(report, claims=(judged, replace(judged, statement="Misled > Student, " * 7)))
    plot = forest(both)
    short, long = plot.figure.axes[0].texts
    assert long.get_text().count("\n") == 1
    assert min(short.get_fontsize(), long.get_fontsize()) >= 7
    assert ", claim" not in short.get_text()


def test_a_damaged_cost_is_a_one_line_error(tmp_path):
    measured, changes, _ = WORLDS["table5"]
    costs = {"unit": "core-hours", "lines": [{**line("sft"), "hours": "many"}]}
    write_result(tmp_path, make_result(measured, **{**changes, "extras": {"costs": costs}}))
    with pytest.raises(InputError, match=r"extras\.costs\.lines\.0\.hours"):
        read_result(tmp_path)


def test_a_mode_that_the_first_task_lacks_is_in_the_legend(part_for):
    part = part_for("failure-modes")
    made = part.measured[0]
    made = replace(made, items={"toy-csqa": tuple(IDS), **made.items})  # whose students lost too little to tell
    (plot,) = resolve(STUDIES["failure-modes"].figures)(replace(part, measured=(made,)), FILE)
    assert [entry.get_text() for entry in plot.figure.legends[0].get_texts()] == ["hallucination", "degradation"]


def test_gains_are_not_drawn_if_the_untouched_student_failed(part_for):
    part = part_for("figure1a")
    (table,) = part.measured
    values = {key: cell for key, cell in table.values.items() if key[0] != "Student" and key[2] != "gain"}
    assert resolve(STUDIES["figure1a"].figures)(replace(part, measured=(replace(table, values=values),)), FILE) == []
