"""What was found, in plain lines: counts by role, what explains a fall, and the paper's own numbers beside a tick."""

from dataclasses import replace

import numpy as np
import pytest
from measured_world import build
from rich.console import Console

from repro.report.blocks import Bullets, Collapsible, Grid, Text
from repro.report.conclusions import conclude
from repro.report.figures.verdicts import forest
from repro.report.markdown import markdown
from repro.report.merge import Source, merge_sources
from repro.report.sections.build import build_sections
from repro.report.sections.findings import MOST_ROWS, ONE_SEED_SCOPE, TOY_SCOPE, findings_section
from repro.report.terminal import _verdicts, print_result, text_table
from repro.tables import MeasuredTable

from .conftest import make_result


def style(method, reasoning, tokens, score=0.5):
    return {"family": "qwen3", "method": method, "score": score, "reasoning": reasoning, "tokens": tokens}


BARE = [style("Teacher", 0.73, 8.0), style("Undistillable", 0.02, 4.1), style("Misled", 0.0, 4.0)]
KEPT = [style("Teacher", 0.73, 8.0), style("Undistillable", 0.70, 7.9), style("Misled", 0.6, 7.0)]


@pytest.fixture(scope="module")
def made():
    table = build(items=40, effects={"Eta0-Student": 1.0, "No-reasoning": -1.0})
    return merge_sources([Source("one", make_result(table, styles=BARE, curves=[]))])[0]


@pytest.fixture(scope="module")
def brief(made):
    return markdown([(made, "k", build_sections(made, "k"))])


def test_claims_premises_and_controls_are_counted_apart(made):
    first = conclude(made.report, made.measured)[0]
    claims, premises = made.report.counts("claim"), made.report.counts("premise")
    assert first.startswith(f"{sum(claims.values())} claims of the paper: {claims['reproduced']} reproduced")
    assert f"{sum(premises.values())} premises, counted apart: {premises['reproduced']} reproduced" in first


def test_a_teacher_that_stops_reasoning_is_named_as_an_explanation(made):
    (line,) = [line for line in conclude(made.report, made.measured, BARE) if "Reasoning" in line]
    assert "Teacher 73% (8.0 tokens), Undistillable 2% (4.1 tokens), Misled 0% (4.0 tokens)" in line
    assert line.endswith("that alone may explain the student's fall.")
    (line,) = [line for line in conclude(made.report, made.measured, KEPT) if "Reasoning" in line]
    assert "explain" not in line


def test_there_are_five_lines(made):
    assert len(conclude(made.report, made.measured, BARE)) == 5


def test_page_brief_and_terminal_say_the_same(made, brief):
    lines = conclude(made.report, made.measured, BARE)
    console = Console(record=True, width=2000)
    print_result(list(made.measured), made.report, console, BARE)
    printed = console.export_text()
    for line in lines:
        assert f"- {line}" in brief
        assert f"- {line}" in printed
    assert "| Undistillable | 0.500 | 2% | 4.1 |" in brief


@pytest.mark.parametrize(("seeds", "warns"), [((0,), True), ((0, 1, 2), False)])
def test_the_terminal_says_that_a_verdict_rests_on_one_training(seeds, warns):
    (part,) = merge_sources([Source("one", make_result(build(items=40, seeds=seeds), curves=[]))])
    console = Console(record=True, width=2000)
    print_result(list(part.measured), part.report, console, [])
    assert (ONE_SEED_SCOPE in console.export_text()) == warns


def test_a_tick_says_that_the_papers_own_numbers_are_split(made, brief):
    (judged,) = [v for v in made.report.claims if v.claim == "student-under-teacher"]
    assert judged.value == "reproduced"
    (line,) = [line for line in brief.splitlines() if line.startswith("|") and "student-under-teacher" in line]
    assert "reproduced; the paper's own numbers are split (13 of 14)" in line


def test_styles_of_two_results_are_averaged_by_seed():
    first = make_result(build(items=40, seeds=(0,)), styles=[style("Teacher", 0.6, 6.0)], curves=[])
    second = make_result(build(items=40, seeds=(1, 2), rng=1), styles=[style("Teacher", 0.9, 9.0)], curves=[])
    (part,) = merge_sources([Source("a", first), Source("b", second)])
    assert "| Teacher | 0.500 | 80% | 8.0 |" in markdown([(part, "k", build_sections(part, "k"))])


@pytest.mark.parametrize(("rows", "is_folded"), [(MOST_ROWS, False), (MOST_ROWS + 1, True)])
def test_a_long_table_of_answers_is_folded(rows, is_folded):
    styles = [style(f"Teacher, eta {n}", 0.8, 6.0) for n in range(rows)]
    (part,) = merge_sources([Source("a", make_result(build(items=40), styles=styles, curves=[]))])
    section = findings_section(part, "k")
    scope, lines, *table = section.blocks
    assert (scope, type(lines)) == (Text(TOY_SCOPE), Bullets)
    assert list(map(type, table)) == ([Collapsible] if is_folded else [Text, Grid])
    assert markdown([(part, "k", build_sections(part, "k"))]).count("| 80% | 6.0 |") == rows


def test_a_contradiction_in_the_embedded_world_has_its_known_reason():
    table = build(items=60, effects={"SFT": -3.0, "GKD-FKL": -3.0, "GKD-RKL": -3.0})
    parts = {
        scale: merge_sources([Source("one", make_result(replace(table, scale=scale), curves=[]))])[0]
        for scale in ("toy", "small")
    }
    reason = "In the embedded world half of the plain teacher's steps are leaps"
    for scale, part in parts.items():
        contradicted = {v.claim for v in part.report.claims if v.value == "contradicted"}
        assert contradicted >= {"sft-helps", "gkd-fkl-helps"}
        assert " ".join(conclude(part.report, part.measured)).count(reason) == (scale == "toy")
        page = markdown([(part, "k", build_sections(part, "k"))])
        assert (reason in page) == (scale == "toy")


def test_without_an_untouched_pair_the_lowest_and_the_highest_row_are_named():
    table = MeasuredTable("failure-modes", "toy", "qwen3", (0,))
    for row, score in (("a", 0.25), ("b", 0.75), ("c", 0.5)):
        for task in ("toy-bm4", "toy-csqa"):
            table.add(row, task, "acc", ["x", "y"], np.full((1, 2), score))
    table.add("partial", "toy-bm4", "acc", ["x", "y"], np.full((1, 2), 0.9))
    report = replace(merge_sources([Source("one", make_result())])[0].report, claims=())
    assert conclude(report, [table]) == ["Accuracy or reward, mean over tasks: lowest a (0.250), highest b (0.750)."]
    for row, score in (("Teacher", 0.6), ("Student", 0.4)):  # of a sweep, whose other rows have their eta in their name
        for task in ("toy-bm4", "toy-csqa"):
            table.add(row, task, "acc", ["x", "y"], np.full((1, 2), score))
    assert conclude(report, [table]) == ["Accuracy or reward, mean over tasks: lowest a (0.250), highest b (0.750)."]
    traps = MeasuredTable("table1", "toy", "qwen3", (0,))
    for row, value in (("small", 0.5), ("large", 2.0)):
        traps.add(row, "toy-bm4", "token_rkl", ["x", "y"], np.full((1, 2), value))
    assert conclude(report, [traps]) == [
        "Token-level reverse KL, mean over tasks: lowest small (0.500), highest large (2.000)."
    ]


def test_of_rows_that_are_all_equal_none_is_the_lowest():
    table = MeasuredTable("failure-modes", "toy", "qwen3", (0,))
    for row in ("Teacher", "Misled"):
        table.add(row, "toy-bm4", "uncommitted", ["x", "y"], np.zeros((1, 2)))
    report = replace(merge_sources([Source("one", make_result(curves=[]))])[0].report, claims=())
    assert not [line for line in conclude(report, [table]) if "lowest" in line]


def test_a_study_of_our_own_begins_with_all_that_is_contradicted(made):
    """Its claims are all controls, and would else be named last, three of them."""
    controls = [
        replace(v, role="control", value=value)
        for v, value in zip(made.report.claims, ["reproduced", *["contradicted"] * 4, "inconclusive"])
    ]
    lines = conclude(replace(made.report, claims=tuple(controls)), made.measured)
    contradicted, _, rest = lines[0].partition(" Inconclusive: ")
    assert contradicted.startswith("Contradicted: ")
    assert all(v.statement in contradicted for v in controls[1:5])
    assert controls[5].statement in rest
    assert "6 controls of ours: 1 reproduced, 4 contradicted, 1 inconclusive." in lines[-1]
    assert "not reproduced:" not in lines[-1]


def test_the_slope_of_a_falling_curve_is_not_taken_for_a_rise(made):
    falls = replace(made.report.claims[0], role="control", kind="trend", value="inconclusive", statement="length falls")
    report = replace(made.report, claims=(falls,))
    assert "in the direction of the claim" in conclude(report, made.measured)[0]
    assert "in the direction of the claim" in forest(report).note
    (row,) = _verdicts(report, "control")
    assert "in the direction of the claim" in row["statement"]
    (row,) = _verdicts(replace(report, claims=(replace(falls, estimate=None, interval=None),)), "control")
    assert row["statement"] == "length falls"


def test_a_terminal_table_prints_brackets():
    """rich reads "[maj@16]" as a style, and prints nothing for it."""
    console = Console(record=True, width=200)
    console.print(text_table([{"difference [interval]": "[0, 1]"}], "accuracy [maj@16, pass@16]"))
    assert " ".join(console.export_text().split()) == "accuracy [maj@16, pass@16] difference [interval] [0, 1]"


def test_a_student_that_reasons_is_not_said_to_give_bare_answers(made):
    styles = [*BARE[:2], style("Misled", 0.6, 7.0)]
    (line,) = [line for line in conclude(made.report, made.measured, styles) if "Reasoning" in line]
    assert line.endswith("Misled 60% (7.0 tokens).")


def test_of_two_families_each_statement_and_each_rate_names_its_own():
    tables = [
        build(items=40, family=family, rng=n, effects={"Misled": 3.0}) for n, family in enumerate(("qwen3", "gemma3"))
    ]
    for table, rate in zip(tables, (0.2, 0.4)):
        table.add("Misled", "quiz", "truncated", table.items["quiz"], np.full((3, 40), rate))
    parts = merge_sources([Source(table.family, make_result(table, curves=[])) for table in tables])
    lines = conclude(parts[0].report, parts[0].measured)
    contradicted = [v for v in parts[0].report.of_role("claim") if v.value == "contradicted"]
    assert {v.family for v in contradicted} == {"qwen3", "gemma3"}
    assert f"Contradicted: {contradicted[0].statement} in {contradicted[0].family} (" in lines[1]
    assert "Misled in gemma3 (40% truncated on quiz); Misled in qwen3 (20% truncated on quiz)" in lines[-1]
