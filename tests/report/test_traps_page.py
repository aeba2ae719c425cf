"""Pages of Tables 1 and 4 and Figure 2: the panel of every row, its health columns, and the correlations."""

import json
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from repro.errors import InputError
from repro.recipes.labels import at_eta
from repro.report.figures.style import PAGE
from repro.report.figures.training_curves import _styles
from repro.report.html import html
from repro.report.markdown import markdown
from repro.report.merge import Source, merge_sources
from repro.report.result import read_result
from repro.report.sections.build import build_sections
from repro.report.sections.panel import panel_section
from repro.tables import MeasuredTable

from .conftest import make_result

INTERVAL = {"low": 2.9, "high": 3.5, "se": 0.1, "defined": 1.0, "prompts": 20, "rollouts": 80}
SUMMARY = {
    "ks": [1, 389],
    "tail_k": 1,
    "left_out": [],
    "not_finite": [],
    "panel": [
        {
            "policy": "student",
            "task": "toy-bm4",
            "measure": "token_rkl",
            "unit": "nats/token",
            "value": 3.2,
            **INTERVAL,
        },
        {"policy": "teacher", "task": "toy-bm4", "measure": "pareto_k", "unit": "", "value": "inf", **INTERVAL},
    ],
    "frequency": [
        {
            "task": "toy-bm4",
            "k": k,
            "whole_vocabulary": k == 389,
            "correlation": value,
            "low": 0.2,
            "high": 0.7,
            "tokens": 40,
            "blocks": 9,
        }
        for k, value in ((1, "nan"), (389, 0.5))
    ]
    + [
        {
            "task": "toy-bm4",
            "k": 1,
            "beyond": True,
            "whole_vocabulary": False,
            "correlation": 0.41,
            "low": 0.2,
            "high": 0.7,
            "tokens": 40,
            "blocks": 9,
            "share": 0.25,
            "share_low": 0.21,
            "share_high": 0.29,
        }
    ],
    "gradient_variance": [
        {"task": "toy-bm4", "item": "a", "sequence": 8.0, "token": 1.0, "token_with_future": 2.0, "ratio": 4.0}
    ],
    "gradient_tokens": 24,
}


def content_of(study):
    rng = np.random.default_rng(0)
    table = MeasuredTable(study, "toy", "qwen3", (0,))
    items = [f"item-{n}" for n in range(20)]
    names = ("token_rkl", "sequence_rkl", "entropy_student") if study == "table1" else ("frequency_correlation",)
    for name in names:
        for row in ("toy:qwen3-teacher", "toy:other") if study == "table1" else ("K=1", "K=V"):
            table.add(row, "toy-bm4", name, items, rng.normal(1, 0.1, (1, 20)))
    line = {"artifact": "diagnose-1", "stage": "diagnose", "kind": "diagnose", "label": "diagnose", "summary": SUMMARY}
    cost = {"seconds": 1.0, "gpu_hours": 0.0, "peak_memory_gib": 0.5, "started": "2026", "ended": "2026"}
    row = {"family": "qwen3", "method": "toy:qwen3-teacher", "seed": 0, "artifact": "diagnose-1"}
    return make_result(table, stages=[{**line, **cost}], rows=[row], examples=[], curves=[])


def page_of(study):
    part = merge_sources([Source("traps", content_of(study))])[0]
    sections = build_sections(part, "k")
    return {section.title for section in sections}, html([(part, "k", sections)]), markdown([(part, "k", sections)])


def test_the_panel_is_on_the_page_and_in_its_brief():
    titles, page, brief = page_of("table1")
    assert "Failure rates" not in titles
    for text in (page, brief):
        for phrase in (
            "pareto_k",
            "never compared with",
            "toy:qwen3-teacher",
            "is 4 times as noisy as",
            "Tail noise, toy:qwen3-teacher: not seen on toy-bm4.",
        ):
            assert phrase in text
        assert text.count("is 4 times as noisy as") == 1
    assert "3.2 [2.9, 3.5]" in brief
    assert "inf [2.9, 3.5]" in brief
    assert 'data-value="3.2" class="short">3.2<small class="line">2.9 to 3.5</small>' in page  # in words, with its id
    assert '<th scope="row">reverse KL over the vocabulary, per token<small>token_rkl, nats/token</small>' in page
    assert '>inf<small class="line">2.9 to 3.5</small>' in page
    assert "Reverse KL of complete completions (sequence_rkl) by task" in page  # a picture of what the paper prints,
    assert "(entropy_student) by task" not in page  # and none of the rest


def test_the_brief_of_a_sweep_has_no_heading_without_its_panels():
    table = MeasuredTable("eta-sweep", "toy", "qwen3", (0,), etas=(-1.0, 1.0))
    for eta in table.etas:
        table.add(at_eta("Teacher", eta), "toy-bm4", "acc", ["a", "b"], [[0.0, 1.0]])
    part = merge_sources([Source("traps", content_of("table1"))])[0]
    section = panel_section(replace(part, measured=(table,)), "k")
    assert section.blocks
    assert not section.brief


def test_metrics_are_words_where_rows_are_teachers_and_students():
    table = MeasuredTable("failure-modes", "toy", "qwen3", (0,))
    for row in ("Teacher", "Student", "Misled"):
        table.add(row, "toy-bm4", "rechecking", ["a", "b"], np.array([[0.0, 0.5]]))
    part = merge_sources([Source("modes", make_result(table, stages=[], rows=[], examples=[], curves=[]))])[0]
    page = html([(part, "k", build_sections(part, "k"))])
    words = "ompletions with a re-check phrase (rechecking)"
    assert f"C{words} by task, qwen3, teachers (above) and students." in page
    assert f">C{words}, qwen3</caption>" in page


def test_further_rows_of_a_position_of_the_knob_have_marks_of_their_own():
    styles = _styles(["Misled", "Misled (batch)", "Improve", "Misled (null reward)", "Undistillable"], PAGE)
    of_misled = [style for row, style in styles.items() if row.startswith("Misled")]
    assert len({style["color"] for style in of_misled}) == 1
    assert len({style["marker"] for style in of_misled}) == 3
    assert styles["Misled"]["marker"] == styles["Undistillable"]["marker"] == "v"  # dashes distinguish them


def test_a_study_of_controls_alone_begins_with_their_counts():
    part = merge_sources([Source("traps", content_of("table1"))])[0]
    controls = replace(part.report, claims=tuple(replace(v, role="control") for v in part.report.claims))
    page = html([(replace(part, report=controls), "k", [])])
    count = sum(v.value == "inconclusive" for v in controls.claims)
    assert count
    assert "Controls of ours; no claim of the paper is tested here." in page
    assert f"<b>{count}</b> inconclusive" in page
    assert "Controls of ours; no claim" not in html([(part, "k", [])])


def test_figure2_shows_correlations_as_rows_and_as_a_figure():
    _, page, brief = page_of("figure2")
    assert "0.5 [0.2, 0.7], 40 tokens" in brief
    assert "nan [0.2, 0.7], 40 tokens" in brief
    assert "| beyond K=1 | 0.41 [0.2, 0.7], 40 tokens; 0.25 [0.21, 0.29] of the KL |" in brief
    for phrase in ("Correlation against K", "arithmetic", "toy-bm4 K=389: +0.50", "toy-bm4 beyond K=1: +0.41"):
        assert phrase in page
    assert "toy-bm4 K=1:" not in page  # undefined: no point


@pytest.mark.parametrize(
    ("change", "key"),
    [({"panel": [{}]}, "panel.0.policy"), ({"panel": [{**SUMMARY["panel"][0], "value": "abc"}]}, "panel.0.value")],
)
def test_a_damaged_diagnosis_is_a_one_line_error(change, key, tmp_path):
    content = content_of("table1")
    content["stages"][0]["summary"] = {**SUMMARY, **change}
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"results\.json: damaged results\.json: key {key}"):
        read_result(tmp_path)


def test_the_plot_says_what_the_papers_figure_2_says():
    """Section 4.2: frequent tokens have disproportionately large contributions as K nears V, and none for small K."""
    page = page_of("figure2")[1]
    assert "In the paper's Figure 2 they contribute more as K nears V" in unescape(page)
