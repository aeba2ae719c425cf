"""The page and its brief: every claim and cell, the numbers of results.json, and hostile text made harmless."""

import io
import math
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from measured_world import build
from rich.console import Console

from repro.errors import InputError
from repro.report.blocks import Grid, Section, SideBySide
from repro.report.figures.knob import line_style
from repro.report.figures.style import PAGE
from repro.report.html import html, page_of_sections
from repro.report.markdown import NOTICED, markdown
from repro.report.merge import Source, merge_sources
from repro.report.sections.build import build_sections
from repro.report.terminal import print_result
from repro.report.text import capitalise, visible
from repro.report.training_history import BINS, binned
from repro.report.write import write_report
from repro.tables import MeasuredTable, load_claims
from repro.tables.metric_names import metric_name, metric_with_id

from .conftest import make_result

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Tags, ids, links and nesting of a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.ids, self.links, self.open, self.data, self.bad = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.bad.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        self.data.append(data)


@pytest.fixture(scope="module")
def built(part):
    return [(part, "part1", build_sections(part, "part1"))]


@pytest.fixture(scope="module")
def text(built):
    return html(built)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_tags_are_balanced_ids_unique_and_links_resolve(page):
    assert page.bad == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    inside = [link[1:] for link in page.links if link.startswith("#")]
    assert len(inside) > 20
    assert set(inside) <= set(page.ids)


def test_the_page_loads_nothing_from_outside(page, text):
    external = [link for link in page.links if not link.startswith(("#", "data:,"))]
    assert external == ["https://arxiv.org/abs/2604.18963"]  # a link to follow, nothing to load
    assert not [attrs for _, attrs in page.tags if "src" in attrs]
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_hostile_text_is_escaped(page, text):
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [attrs for _, attrs in page.tags for name in attrs if name.startswith("on")]
    visible_text = "".join(page.data)
    assert "</pre><script>document.title='owned'</script><img src=x" in visible_text
    assert "{{ 7 * 7 }} {% include 'x' %}" in visible_text
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩ ⟨U+0000⟩⟨U+001B⟩[31m⟨U+0007⟩ ⟨U+D800⟩ שלום &lt;b&gt; ]]> <!--" in visible_text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x07\x1b\ud800]", text)
    assert "(no text)" in visible_text


def test_hostile_names_in_a_result_are_escaped():
    name = "<script>x</script>\u202e$\\frac{1}{0}$"
    (part,) = merge_sources([Source(name, make_result(build(items=20, family=name)))])
    built = [(part, "part1", build_sections(part, "part1"))]
    page = Page(html(built))
    assert page.bad == []
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "\u202e" not in html(built) + markdown(built)
    assert "<script>x</script>⟨U+202E⟩$\\frac{1}{0}$" in "".join(page.data)


def test_every_claim_and_cell_is_on_the_page_with_its_number(part, result, page, text):
    for v in part.report.claims:
        assert f"part1-claim-{v.claim}-{v.family}" in page.ids
        assert v.text[1:] in "".join(page.data)
        assert f"{v.estimate:+.3f}" in text
    judged = {v.claim for v in part.report.claims}
    reasons = [c.margin_reason for c in load_claims("table2") if c.margin_reason and c.id in judged]
    assert len(reasons) >= 3
    assert all(f"Margin: {reason}." in "".join(page.data) for reason in reasons)
    cells = [
        (c["row"], c["task"], c["metric"], sum(map(sum, c["values"])) / sum(map(len, c["values"])))
        for c in result["measured"][0]["cells"]
    ]
    rows = re.findall(r"<tr><th.*?</tr>", text)
    for row, task, metric, mean in cells:
        cell_text = (
            metric if metric_name(metric) == metric else f'{metric_name(metric)}<small class="line">{metric}</small>'
        )
        matches = [
            r for r in rows if f'>{row}</th><td class="short">{task}</td><td class="short">{cell_text}</td>' in r
        ]
        assert len(matches) == 1, (row, task, metric)
        assert float(re.search(r'data-value="([^"]+)"', matches[0])[1]) == pytest.approx(mean, abs=1e-12)


def test_provenance_errata_and_the_notice_are_shown(page, text):
    visible_text = "".join(page.data)
    for phrase in ("PAPER", "DERIVED", "ASSUMED", "MEASURED", "qwen3-misled-csqa-majority-above-pass", "section 6.1"):
        assert phrase in visible_text
    assert "Scaled down: no verdict on the paper's numbers." in visible_text
    assert visible_text.count("scaled down") >= text.count(
        "<h3"
    )  # every section, and every printed sheet (in the style)


def test_every_figure_has_a_title_and_a_description(page, text):
    figures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(figures) == 5  # claims, bars, students, teachers, cost
    for attrs in figures:
        assert all(name in page.ids for name in attrs["aria-labelledby"].split())
    captions = re.findall(r"<figcaption><strong>.*?</strong>(.*?)</figcaption>", text)
    assert len(captions) == 5
    assert all(len(caption.split()) > 8 for caption in captions)  # a sentence says what to look for
    labels = [tag for tag, _ in page.tags if tag == "text"]
    assert len(labels) > 80  # text, not outlines: it can be read aloud, searched and copied
    assert not re.search("#0101[0-9a-f]{2}|#0102|#0103|DejaVu", text)  # no stand-in colour is left


def test_a_study_without_answers_is_laid_out_metric_by_metric():
    traps = MeasuredTable("table1", "toy", "qwen3", (0,))
    rng = np.random.default_rng(0)
    for row in ("Qwen3-8B", "Qwen3-14B"):
        for metric, mean in (("token_rkl", 0.2), ("is_rkl", -3.0), ("wrong_trace", 0.4)):
            values = rng.uniform(0, 1, (1, 20)) if metric == "wrong_trace" else rng.normal(mean, 0.1, (1, 20))
            traps.add(row, "BM4", metric, [f"i{n}" for n in range(20)], values)
    (part,) = merge_sources([Source("traps", make_result(traps, curves=[], examples=[]))])
    text = html([(part, "t", build_sections(part, "t"))])
    visible_text = "".join(Page(text).data)
    for metric in ("token_rkl", "is_rkl", "wrong_trace"):
        assert f'id="t-bars-0-{metric}-title"' in text
        assert f"{capitalise(metric_with_id(metric))}, qwen3" in visible_text
    assert "paper 0.208" in visible_text
    assert "qwen3-32b-open-sequence-rkl" in visible_text  # the erratum of this table
    assert "Failure rates" not in visible_text
    assert "Completions side by side" not in visible_text


def test_a_metric_that_some_tasks_lack_is_laid_out_on_the_others():
    """Open-ended tasks have no wrong traces."""
    table = MeasuredTable("table1", "toy", "qwen3", (0,))
    for task, metrics in (("toy-bm4", ("token_rkl", "wrong_trace")), ("toy-dolly", ("token_rkl",))):
        for metric in metrics:
            table.add("toy:qwen3-teacher", task, metric, ["a", "b", "c"], [[0.1, 0.2, 0.4]])
    (part,) = merge_sources([Source("traps", make_result(table, curves=[]))])
    (section,) = [s for s in build_sections(part, "k") if s.title == "Measured"]
    heads = {
        grid.caption.rpartition("(")[2].partition(")")[0]: list(grid.rows[0])
        for grid in section.brief
        if isinstance(grid, Grid)
    }
    assert heads == {"token_rkl": ["row", "toy-bm4", "toy-dolly"], "wrong_trace": ["row", "toy-bm4"]}


def test_an_inconclusive_claim_says_what_would_decide_it(part, built):
    brief = markdown(built)
    undecided = [v for v in part.report.claims if v.needed_items or v.needed_seeds]
    assert undecided
    for v in undecided:
        assert v.text in brief
        assert v.needed_items is None or f"{v.needed_items:,} items in all" in brief


def test_a_claim_that_is_not_testable_is_shown_as_such_and_never_counted_as_reproduced(tmp_path):
    table = build(items=40)
    table.chance = dict.fromkeys(table.tasks, 1.0)
    content = make_result(table, curves=[])
    (made,) = merge_sources([Source("one", content)])
    (judged,) = [v for v in made.report.claims if v.claim == "misled-collapses-under-student"]
    (stored,) = [v for v in content["verdicts"]["claims"] if v["claim"] == "misled-collapses-under-student"]
    assert judged.value == stored["value"] == "not testable"
    counts = made.report.counts("claim")
    assert counts["not testable"] == 1
    assert counts["reproduced"] == sum(v.value == "reproduced" for v in made.report.claims if v.role == "claim")
    page, brief = write_report([made], tmp_path / "report.html")
    text = page.read_text()
    assert 'class="tone not-testable"' in text
    assert '<li class="not-testable">' in text
    assert "--not-testable:" in text
    assert "| not testable; Student is at chance |" in brief.read_text()
    console = Console(record=True, width=200)
    print_result(list(made.measured), made.report, console)
    printed = console.export_text()
    assert "1 not testable" in printed
    (line,) = [line for line in printed.splitlines() if judged.statement in line and line.startswith("not")]
    assert line.startswith("not testable")
    assert "Student is at chance" in line
    assert "not run" not in line


def test_a_result_of_older_code_knows_chance_too():
    """Else Table 3's stored toy result, whose students stood at chance, would still be a reproduced collapse."""
    table = MeasuredTable("table2", "toy", "qwen3", (0, 1, 2))
    rng = np.random.default_rng(1)
    for row, rate in (("Student", 0.17), ("Misled", 0.02)):
        table.add(row, "toy-csqa", "acc", [str(n) for n in range(150)], rng.binomial(16, rate, (3, 150)) / 16)
    content = make_result(table)
    assert content["measured"][0].pop("chance") == {}
    (part,) = merge_sources([Source("old", content)])
    (judged,) = [v for v in part.report.claims if v.claim == "misled-collapses-under-student"]
    assert judged.value == "not testable"


def test_the_brief_is_short_and_has_the_same_sections(built, text):
    brief = markdown(built)
    assert len(brief) < len(text) / 10
    for section in built[0][2]:
        assert (f"## {section.title}" in brief) == bool(section.brief)
    assert brief.count("**Scaled down: no verdict on the paper's numbers.**") == len(NOTICED) == 3


@pytest.fixture(scope="module")
def written(tmp_path_factory, part):
    """Page and brief of a single study, in a folder that was not there."""
    return write_report([part], tmp_path_factory.mktemp("report") / "new" / "page.html")


def test_a_merged_page_begins_with_one_table_and_ends_with_one_glossary(tmp_path, part, written):
    page, brief = write_report([part, part], tmp_path / "page.html")
    text = page.read_text()
    start, first = text.index('id="overview"'), text.index("<article")
    assert start < first
    counts = part.report.counts("claim")
    assert f"{counts['reproduced']} reproduced" in text[start:first]
    assert text[start:first].count("<tr>") == 3  # a head, and a row per study
    assert brief.read_text().startswith("# All studies")
    assert text.count("What the words mean") == 1
    assert "overview" not in written[1].read_text()


def test_a_colour_and_a_mark_stand_for_one_position_of_the_knob():
    teachers = {line_style(row, PAGE)["color"] for row in ("Undistillable", "Misled", "Undistillable (OOD)")}
    assert len(teachers) == 1
    positions = [line_style(row, PAGE) for row in ("Teacher", "Distillable", "Eta0-Teacher", "Undistillable")]
    assert len({style["color"] for style in positions}) == len({style["marker"] for style in positions}) == 4
    assert {style["linestyle"] for style in positions} == {"-"}
    students = ("Student", "Improve", "Eta0-Student", "Misled", "Student of Undistillable")
    assert {line_style(row, PAGE)["linestyle"] for row in students} == {"--"}
    assert line_style("Student of Undistillable", PAGE)["color"] == line_style("Misled", PAGE)["color"]


def test_a_report_is_a_page_and_a_brief(written):
    page, brief = written
    assert sorted(page.parent.iterdir()) == [page, brief]
    assert (page.name, brief.name) == ("page.html", "page.md")


@pytest.mark.load_sensitive
def test_four_studies_on_a_page_take_little_more_than_four_times_as_long_as_one(tmp_path, part):
    best = {1: math.inf, 4: math.inf}
    for studies in (1, 1, 4, 4, 4):  # again where other work on the machine slowed four studies
        if best[4] < 2.5**2 * best[1]:
            break
        start = time.process_time()
        write_report([part] * studies, tmp_path / "page.html")
        best[studies] = min(best[studies], time.process_time() - start)
    assert best[4] < 2.5**2 * best[1]


def test_answers_whose_grading_reached_a_limit_are_on_the_page(built, result):
    stages = [result["stages"][0] | {"summary": {"toy-bm4": {"undecided": 2}, "toy-bm5": {"undecided": 1}}}]
    (undecided,) = merge_sources([Source("one", make_result(stages=stages, curves=[]))])
    notice = "3 answers could not be graded within the limits (undecided)"
    shared = [make_result(build(items=40, seeds=(seed,), rng=seed), stages=stages, curves=[]) for seed in (0, 1)]
    (merged,) = merge_sources([Source(str(n), content) for n, content in enumerate(shared)])
    assert notice in markdown([(merged, "part1", build_sections(merged, "part1"))])  # one stage of two results
    page_parts = [(undecided, "part1", build_sections(undecided, "part1"))]
    for writer in (html, markdown):
        assert notice in writer(page_parts)
        assert "undecided)" not in writer(built)


def test_a_report_needs_no_torch():
    code = "import sys, repro.report.write, repro.report.merge; print({'torch', 'transformers', 'pyarrow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unwritable_page_is_a_one_line_error(tmp_path, part):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/page\.html: .*--out FILE"):
        write_report([part], tmp_path / "file" / "page.html")


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_a_page_replaces_its_own_kind_only(tmp_path, part, name):
    page = tmp_path / "page.html"
    (tmp_path / name).write_text("notes")
    with pytest.raises(
        InputError, match=rf"{re.escape(name)}: exists, and was not written by `repro report`.*--out FILE"
    ):
        write_report([part], page)
    assert (tmp_path / name).read_text() == "notes"
    (tmp_path / name).unlink()
    assert write_report([part], page) == write_report([part], page)


def test_beside_results_their_page_alone_is_replaced(tmp_path, part):
    for name in ("results.json", "report.html", "report.md", "notes.html"):
        (tmp_path / name).write_text("{}")
    assert write_report([part], tmp_path)[0].read_text() != "{}"  # a page of a version without the mark
    for name, message in (("notes.html", "was not written by"), ("results.json", "name the HTML page")):
        with pytest.raises(InputError, match=message):
            write_report([part], tmp_path / name)
        assert (tmp_path / name).read_text() == "{}"


def test_a_path_without_an_ending_is_a_folder_for_the_page(tmp_path, part):
    assert [path.relative_to(tmp_path) for path in write_report([part], tmp_path / "new")] == [
        Path("new/report.html"),
        Path("new/report.md"),
    ]


def test_visible_leaves_printable_characters_alone():
    assert visible("שלום мир 🎉 e\u0301") == "שלום мир 🎉 e\u0301"
    assert visible("a\nb\t") == "a⟨U+000A⟩b⟨U+0009⟩"
    assert visible("a\r\nb\u2028c", lines=True) == "a\nb\nc"


def test_a_long_history_is_averaged_in_bins():
    history = [{"step": n + 1, "loss": float(n), "accuracy": None} for n in range(4 * BINS)]
    steps, figures = binned(history)
    assert steps[0] == 4
    assert steps[-1] == 4 * BINS
    assert figures == {"loss": [pytest.approx(4 * n + 1.5) for n in range(BINS)]}
    assert binned([]) == ([], {})


def test_warnings_of_stages_are_a_section_of_their_own(built):
    wires = {"lost ends": "40% of the completions were cut", "entropy collapse": "entropy fell"}
    stages = [make_result()["stages"][0] | {"label": "distil", "summary": {"warnings": wires}}] * 2
    (warned,) = merge_sources([Source("one", make_result(stages=stages, curves=[]))])
    sections = build_sections(warned, "part1")
    assert [section.title for section in sections].count("Warnings of stages") == 1
    for writer in (html, markdown):
        text = writer([(warned, "part1", sections)])
        assert all(text.count(message) == 1 for message in wires.values())
    ((_, _, calm),) = built
    assert "Warnings of stages" not in [section.title for section in calm]


def test_an_idle_control_is_called_that_on_the_page_in_the_brief_and_on_the_terminal():
    table = build(items=40)
    reasons = ("the teacher did not move: its KL to its start is 3.0e-05 nats per token, below 0.001",) * len(
        table.seeds
    )
    table.idle = {"Misled": dict.fromkeys(table.tasks, reasons)}
    part = merge_sources([Source("one", make_result(table, curves=[]))])[0]
    built = [(part, "part1", build_sections(part, "part1"))]
    terminal = Console(record=True, width=200, file=io.StringIO())
    print_result(part.measured, part.report, terminal)
    for text in (html(built), markdown(built, "report.html"), terminal.export_text(clear=False)):
        assert (
            "so not used in claims there: Misled (the teacher did not move: its KL to its start is 3.0e-05 nats" in text
        )
        is_terminal = re.search(r"not testable +GKD-RKL > Misled +idle", text)
        assert is_terminal or "not testable: idle, misled" in text.lower()
    assert terminal.export_text(clear=False).count("Idle on ") == 1
    assert sum(v.value == "not testable" for v in part.report.claims) >= 2


def test_a_completion_whose_end_is_not_stored_is_not_said_to_have_ended(result):
    """Continuations have no stop: the page says nothing of it."""
    example = result["examples"][0]
    cut, unknown = ({**example["completions"][0], "stop": stop} for stop in ("length", ""))
    section = Section("s", "Samples", [SideBySide({**example, "completions": [cut, unknown]})])
    page = page_of_sections("title", "lead", [section], "sample", "repro traps")
    assert re.findall(r"score 1.00([^<]*)<", page) == [", cut by the cap", ""]
