"""What a first reader takes from a page: what was compared, what decided, what was not run, and where a number is from."""

import re
from dataclasses import replace
from math import isinf
from typing import get_args

import numpy as np
import pytest
from measured_world import build

from repro.printed.claims import Kind
from repro.printed.load import load_claims
from repro.recipes.studies import STUDIES, resolve
from repro.report.blocks import Bullets, Collapsible, Grid, Text
from repro.report.conclusions import conclude
from repro.report.figures.bars import bars
from repro.report.figures.style import FILE
from repro.report.figures.training_curves import training_curves
from repro.report.figures.verdicts import forest, in_order
from repro.report.html import html
from repro.report.markdown import markdown
from repro.report.merge import Source, merge_sources
from repro.report.sections.build import build_sections
from repro.report.sections.findings import ONE_SEED_SCOPE, TOY_SCOPE
from repro.report.sections.glossary import WORDS
from repro.report.sections.measured import measured_section
from repro.report.sections.settings import describe_setting
from repro.report.sections.verdicts import verdict_section
from repro.tables import MeasuredTable
from repro.tables.metric_names import describe_measure, is_kl
from repro.tables.verdicts.contrasts import region_of

from .conftest import make_result

IDS = [f"i{n}" for n in range(20)]


def part_of(table, **changes):
    return merge_sources([Source("one", make_result(table, curves=[], **changes))])[0]


@pytest.fixture(scope="module")
def one_seed():
    return part_of(build(items=40, seeds=(0,), effects={"No-reasoning": -3.2, "Undistillable": 3.4}))


@pytest.fixture(scope="module")
def rows(one_seed):
    """Row of the tables of verdicts by claim id."""
    grids = [block for block in verdict_section(one_seed, "k").blocks if isinstance(block, Grid)]
    return {row["claim"].note: row for grid in grids for row in grid.rows}


def test_the_scope_of_a_toy_study_and_of_one_seed_comes_before_what_was_found(one_seed):
    findings = build_sections(one_seed, "k")[0]
    assert findings.blocks[:2] == [Text(TOY_SCOPE), Text(ONE_SEED_SCOPE)]
    assert findings.brief[:2] == findings.blocks[:2]
    small = build_sections(part_of(build(items=40, scale="small")), "k")[0]
    assert not [block for block in small.blocks if isinstance(block, Text)]


def test_claims_come_first_in_tables_plot_and_evidence(one_seed):
    roles = [v.role for v in in_order(one_seed.report)]
    assert roles == sorted(roles, key=("claim", "premise", "control").index)
    assert sorted(roles) == sorted(v.role for v in one_seed.report.claims)
    folds = [block.id for block in verdict_section(one_seed, "k").blocks if isinstance(block, Collapsible)]
    evidence = [fold for fold in folds if "-claim-" in fold]
    assert evidence == [f"k-claim-{v.claim}-qwen3" for v in in_order(one_seed.report)]
    labels = [text.get_text().partition(", ")[2] for text in forest(one_seed.report).figure.axes[0].texts]
    assert labels.index("premise") > labels.index("")
    assert "" not in labels[labels.index("premise") :]


def test_a_row_says_what_its_difference_is_and_what_is_allowed(one_seed, rows):
    collapse = rows["misled-collapses-under-student"]
    assert collapse["difference"].note == "0.5 x Student - Misled"
    assert collapse["allowed"].text == "> 0"
    assert rows["undistillable-retains-teacher"]["allowed"].text == "> -0.02"
    assert rows["improve-beats-sft"]["allowed"].text == "> 0"
    assert rows["misled-equals-no-reasoning"]["allowed"].text == "-0.02 to 0.02"
    (evidence,) = [
        block
        for block in verdict_section(one_seed, "k").blocks
        if isinstance(block, Collapsible) and "misled-collapses" in block.id
    ]
    (by_task,) = [block for block in evidence.blocks if isinstance(block, Grid)]
    row = by_task.rows[0]  # the plain difference, which is not the one that decides
    assert row["Student - Misled"].value == pytest.approx(row["Student"].value - row["Misled"].value)


def test_the_plot_says_on_which_side_of_its_edge_a_statement_is_reproduced(one_seed):
    regions = [(claim.kind, region_of(claim)) for claim in load_claims()]
    assert {kind for kind, region in regions} == set(get_args(Kind))
    assert {kind for kind, region in regions if isinf(region.low)} == {"below"}  # of a mean
    assert {kind for kind, region in regions if not isinf(region.low) and not isinf(region.high)} == {
        "range",
        "between",
    }
    assert (
        "right of its one edge (left for a mean that must be below a number), or between"
        in forest(one_seed.report).note
    )


def test_what_was_left_out_of_a_verdict_is_not_called_not_run():
    table = build(items=40)
    table.idle = {"Misled": {"quiz": ("not moved",) * len(table.seeds)}}
    part = part_of(table)
    not_run, left_out = _lines(part, "not-run"), _lines(part, "left-out")
    assert (
        "Misled < 0.5 x Student (qwen3): tasks left out because idle: Misled on quiz: not moved at seed 0 (also idle at 1, 2)"
        in left_out
    )
    assert all(": tasks left out because " in line for line in left_out)
    assert not any(" left out " in line for line in not_run)
    assert len(left_out) + len(not_run) == len(part.report.skipped)
    brief = verdict_section(part, "k").brief
    n = brief.index(Text("Not run:"))
    assert brief[n + 1 : n + 4] == [Bullets(not_run), Text("Left out of verdicts:"), Bullets(left_out)]


def _lines(part, anchor):
    (fold,) = [block for block in verdict_section(part, "k").blocks if getattr(block, "id", "") == f"k-{anchor}"]
    (bullets,) = fold.blocks
    assert fold.summary.endswith(f": {len(bullets.items)}")
    return list(bullets.items)


def test_a_mean_is_not_called_a_difference_and_zero_has_no_minus(one_seed):
    (v, *_) = [v for v in one_seed.report.claims if v.kind == "ordering" and v.role == "claim"]
    mean = replace(v, kind="above", statement="overconfidence of Misled > 0.05", estimate=-0.0001, region=(0.05, None))
    report = replace(one_seed.report, claims=(mean,))
    (grid,) = [b for b in verdict_section(replace(one_seed, report=report), "k").blocks if isinstance(b, Grid)]
    assert (grid.rows[0]["difference"].text, grid.rows[0]["difference"].note) == ("+0.000", "mean")
    assert grid.rows[0]["allowed"].text == "> 0.05"


def test_a_verdict_that_one_seed_cannot_settle_says_so(one_seed):
    (v, *_) = [v for v in one_seed.report.claims if v.role == "claim"]
    capped = replace(v, value="inconclusive", capped=True)
    part = replace(one_seed, report=replace(one_seed.report, claims=(capped,)))
    (grid,) = [b for b in verdict_section(part, "k").blocks if isinstance(b, Grid)]
    assert grid.rows[0]["verdict"].note == "clear of the edge, but one training seed cannot settle it"
    assert "is inconclusive within 5 standard errors" in markdown([(part, "k", build_sections(part, "k"))])


def test_a_column_that_says_nothing_is_left_out(one_seed):
    decided = tuple(replace(v, value="reproduced") for v in one_seed.report.of_role("claim"))
    part = replace(one_seed, report=replace(one_seed.report, claims=decided))
    (grid,) = [b for b in verdict_section(part, "k").blocks if isinstance(b, Grid)]
    assert "would decide" not in grid.rows[0]
    assert "in the paper" in grid.rows[0]


def test_a_contradicted_premise_is_called_one_where_claims_are_named():
    part = part_of(build(items=60, effects={"SFT": -3.0}))
    (v,) = [v for v in part.report.claims if v.claim == "sft-helps"]
    assert (v.role, v.value) == ("premise", "contradicted")
    lines = conclude(part.report, part.measured)
    assert f"Contradicted: SFT > Student (premise, {v.estimate:+.3f})" in lines[1]
    page = html([(part, "k", build_sections(part, "k"))])
    assert '<p class="label">Claims of the paper</p>\n<ul class="tally">' in page


def test_what_was_not_run_is_counted_apart_from_what_the_data_leave_open(one_seed):
    claims = one_seed.report.of_role("claim")
    untested = [replace(v, value="inconclusive", estimate=None, interval=None, tasks=()) for v in claims[:2]]
    reproduced = [replace(v, value="reproduced") for v in claims[2:]]
    report = replace(one_seed.report, claims=(*untested, *reproduced))
    assert f"{len(reproduced)} reproduced, 2 inconclusive (2 not run)." in conclude(report, one_seed.measured)[0]


def test_guessing_is_beside_the_accuracies():
    table = build(items=40)
    table.chance = {"quiz": 0.25}
    section = measured_section(part_of(table), "k")
    assert "Guessing would score: quiz 0.25." in section.brief[0].text


def test_a_page_without_printed_numbers_does_not_speak_of_them():
    table = MeasuredTable("table1", "toy", "qwen3", (0,))
    for row in ("toy:qwen3-teacher", "toy:other"):
        table.add(row, "BM4", "token_rkl", IDS, np.full((1, 20), 0.2))
    assert [plot.note for plot in bars(part_of(table), FILE)] == [
        "Bars with their 95 % intervals."
    ]  # no knob, no student
    section = measured_section(part_of(table), "k")
    assert section.title == "Measured"
    assert "for orientation" not in section.brief[0].text
    assert section.brief[0].text.endswith(" KL in nats.")
    printed = replace(table, values={}, items={})
    printed.add("Qwen3-8B", "BM4", "token_rkl", IDS, np.full((1, 20), 0.2))
    section = measured_section(part_of(printed), "k")
    assert section.title == "Measured against printed"
    assert "for orientation" in section.brief[0].text


def test_only_a_kl_is_in_nats():
    correlation = "token_rkl_outcome_correlation"
    table = MeasuredTable("table4", "toy", "qwen3", (0,))
    table.add("Calibrated", "all tasks", correlation, IDS, np.full((1, 20), 0.2))
    assert "nats" not in measured_section(part_of(table), "k").brief[0].text
    kls = ("token_rkl", "sequence_rkl", "is_rkl", "is_k3", "top_k_rkl@10", "token_fkl")
    assert all(map(is_kl, kls))
    assert not any(
        map(is_kl, (correlation, "log_sd_sequence_rkl", "log_sd_is_k3", "frequency_correlation", "tail_share"))
    )


def test_bars_are_drawn_where_there_is_something_to_compare():
    table = MeasuredTable("failure-modes", "toy", "qwen3", (0,))
    half = np.tile([0.0, 1.0], (1, 10))
    table.add("Teacher", "toy-bm4", "rechecking", IDS, half)
    for row in ("Student", "Misled"):
        table.add(row, "toy-bm4", "rechecking", IDS, half)
        table.add(row, "toy-bm4", "uncommitted", IDS, np.full((1, 20), 0.0004))
        table.add(row, "toy-bm4", "overconfidence", IDS, half)
    table.add("Student", "toy-bm4", "solved", IDS, half)
    part = part_of(table, examples=[], stages=[])
    drawn = bars(part, FILE)
    assert [plot.note.count("orange: below 0") for plot in drawn] == [1, 1]
    assert [plot.note.count("Pale: students") for plot in drawn] == [1, 0]
    titles = [plot.title for plot in drawn]
    assert next(title for title in titles if "rechecking" in title).endswith("teachers (above) and students")
    assert next(title for title in titles if "overconfidence" in title).endswith(
        "by task, qwen3"
    )  # no teacher is drawn
    assert not [title for title in titles if "uncommitted" in title or "solved" in title]


def test_examples_say_how_they_were_chosen():
    table = MeasuredTable("failure-modes", "toy", "qwen3", (0,))
    for row in ("Student", "Misled"):
        table.add(row, "toy-bm4", "rechecking", IDS, np.tile([0.0, 1.0], (1, 10)))
    guarded = MeasuredTable("leak", "toy", "qwen3", (0,))
    for row in ("Student", "no-teacher"):
        guarded.add(row, "toy-bm4", "acc", IDS, np.tile([0.0, 1.0], (1, 10)))
    for table_, phrase in (
        (table, "the first completions of each failure mode"),
        (build(items=40), "of the main models (not of every row) on the first prompts"),
        (guarded, "of the teacher under each guard, and of the student before and after training on its own samples"),
    ):
        part = part_of(table_)
        assert phrase in html([(part, "k", build_sections(part, "k"))])


def test_a_selection_of_examples_exists_and_has_one_text():
    selections = {entry.examples for entry in STUDIES.values() if entry.examples is not None}
    assert len({resolve(selection.function) for selection in selections}) == len(selections) == 4
    assert all(selection.text.endswith(".") for selection in selections)


def test_a_reason_for_paper_scale_is_called_that_at_another():
    assert describe_setting("sft.sequences_per_step", 128, "toy")["why this one"] == (
        "as at paper scale: common for distillation at this size"
    )
    assert (
        describe_setting("sft.sequences_per_step", 128, "paper")["why this one"]
        == "common for distillation at this size"
    )


def test_the_glossary_defines_the_preference_as_it_is_computed():
    assert "the wrong one has the lower log p_student - log p_teacher" in WORDS["wrong-trace preference"]
    assert "favours it more than the student does" in WORDS["wrong-trace preference"]
    for measure in ("wrong_trace", "wrong_trace_per_prompt", "wrong_trace_length_matched", "unanswered_trace"):
        assert re.search("the teacher favours .* more than the student does", describe_measure(measure))


def test_the_method_says_how_to_read_p(one_seed):
    brief = markdown([(one_seed, "k", build_sections(one_seed, "k"))])
    assert "p is two-sided, against the nearest edge of the allowed values" in brief


def test_every_student_of_the_paper_is_among_the_scores(one_seed):
    (line,) = [line for line in conclude(one_seed.report, one_seed.measured) if line.startswith("Accuracy")]
    assert all(f"{row} 0." in line for row in one_seed.measured[0].rows)


def test_the_kl_of_a_calibration_has_its_unit():
    curve = {"family": "qwen3", "method": "Distillable", "seed": 0, "stage": "calibrate", "steps": [1, 2]}
    table = build(items=40, seeds=(0,))
    (part,) = merge_sources(
        [Source("one", make_result(table, curves=[curve | {"figures": {"r_cal": [-6.0, -5.0], "kl": [0.0, 0.1]}}]))]
    )
    (plot,) = [plot for plot in training_curves(part, FILE) if plot.name.startswith("calibrate")]
    assert [axis.get_title(loc="left") for axis in plot.figure.axes] == [
        "r_cal (nats)",
        "KL to the uncalibrated teacher (nats per token)",
    ]


def test_calibrations_without_r_cal_are_named_below_the_figure_that_leaves_them_out():
    curve = {"family": "qwen3", "seed": 0, "stage": "calibrate", "steps": [1, 2]}
    figures = {"Undistillable": {"r_cal": [-6.0, -5.0]}, "Undistillable (null reward)": {"kl": [0.0, 0.1]}}
    curves = [curve | {"method": method, "figures": logged} for method, logged in figures.items()]
    (part,) = merge_sources([Source("one", make_result(build(items=40, seeds=(0,)), curves=curves))])
    (plot,) = [plot for plot in training_curves(part, FILE) if plot.name.startswith("calibrate")]
    assert "another reward replaces r_cal: Undistillable (null reward)." in plot.note


@pytest.mark.parametrize(("other", "is_explained"), [("Undistillable (per token)", True), ("Undistillable", False)])
def test_two_units_of_r_cal_in_one_panel_are_pointed_out(other, is_explained):
    curve = {"family": "qwen3", "seed": 0, "stage": "calibrate", "steps": [1, 2], "figures": {"r_cal": [-6.0, -5.0]}}
    curves = [curve | {"method": method} for method in ("Distillable", other)]
    (part,) = merge_sources([Source("one", make_result(build(items=40, seeds=(0,)), curves=curves))])
    (plot,) = [plot for plot in training_curves(part, FILE) if plot.name.startswith("calibrate")]
    assert ("nats per token for lines" in plot.note) == is_explained
