"""A study in which a stage fails: what could be measured is judged, and says what is missing."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

import repro.evaluation.evaluate as evaluation
from repro.errors import InputError, StageError
from repro.pipeline.cluster import Execution
from repro.pipeline.engine import Failure
from repro.pipeline.record import build_artifact
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.report.merge import read_parts
from repro.report.reload import show_result
from repro.report.result import read_result
from repro.report.write import write_report
from repro.stages import topological_order
from repro.workflow.study import _measurable, run_study

SETTINGS = ["test_items=6", "tasks=toy-bm4", "evaluation.completions_per_prompt=4", "evaluation.batch_sequences=96"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def study():
    planned = plan("table2", scale="toy", seeds=1, assignments=SETTINGS)
    return replace(planned, rows=tuple(row for row in planned.rows if row.method in {"Teacher", "Student"}))


def run(study, out):
    console = Console(record=True, width=200)
    return run_study(study, out, Execution(Resources(), backend="none"), quiet=True, console=console), console


@pytest.fixture(scope="module")
def failed(study, out):
    """The error of a run in which the student's evaluation fails, and what it printed."""
    console = Console(record=True, width=200)
    summarise, calls = evaluation.summarise, itertools.count(1)

    def fail_second(outcomes):
        if next(calls) == 2:
            raise LookupError("a defect")
        return summarise(outcomes)

    evaluation.summarise = fail_second
    try:
        with pytest.raises(StageError) as error:
            run_study(study, out, Execution(Resources(), backend="none"), quiet=False, console=console)
    finally:
        evaluation.summarise = summarise
    return str(error.value), console.export_text()


@pytest.fixture
def folder(failed, out):
    (folder,) = (path for path in out.iterdir() if path.name != "cache" and path.name.endswith("-incomplete"))
    return folder


def test_the_rows_that_could_be_measured_have_a_result_of_their_own(failed, folder, out):
    error, _ = failed
    assert error.startswith("evaluate toy:qwen3-student: a defect. Log: ")
    result = read_result(folder)
    assert [row["method"] for row in result["rows"]] == ["Teacher"]
    assert [table["family"] for table in result["measured"]] == ["qwen3"]
    (missing,) = result["missing"]
    assert (missing["family"], missing["method"]) == ("qwen3", "Student")
    assert missing["reason"].startswith(
        "evaluate toy:qwen3-student (seed 0) failed: evaluate toy:qwen3-student: a defect."
    )
    assert [path.name for path in out.iterdir() if path.name not in ("cache", folder.name)] == []


def test_terminal_page_and_brief_say_first_what_is_missing(failed, folder):
    line = "incomplete: no numbers for Student, and no verdict on claims about it: evaluate toy:qwen3-student"
    shown = Console(record=True, width=2000)
    show_result(folder, shown)
    brief, page = ((folder / name).read_text() for name in ("report.md", "report.html"))
    for text in (" ".join(failed[1].split()), shown.export_text(), brief, page):
        assert line in text
    assert brief.index(line) < brief.index("claims of the paper")


def test_an_incomplete_result_is_reported_alone_but_not_joined(folder, failed, tmp_path):
    write_report(read_parts([folder]), tmp_path / "page.html")
    with pytest.raises(InputError, match=r"an incomplete result.*Run the study again; cached stages are kept"):
        read_parts([folder, folder])


def test_the_next_run_makes_the_complete_result_and_leaves_the_other(failed, folder, study, out):
    before = (folder / "results.json").read_bytes()
    outcome, _ = run(study, out)
    assert outcome.folder.name == folder.name.removesuffix("-incomplete")
    assert "missing" not in read_result(outcome.folder)
    assert (folder / "results.json").read_bytes() == before


@pytest.mark.parametrize("has_cells", [True, False])
def test_a_row_that_lacks_one_seed_is_left_out_with_all_of_them_and_a_family_without_numbers(
    has_cells, tmp_path, monkeypatch
):
    def measured(study, cache):
        return [
            SimpleNamespace(family=family, values={"a cell": 1.0} if has_cells else {}) for family in study.families
        ]

    monkeypatch.setattr("repro.workflow.study.measure", measured)
    planned = plan("table2", scale="toy", seeds=2, assignments=SETTINGS)
    improve = [row for row in planned.rows if row.method == "Improve"]
    failing = next(stage for stage in improve[1].stage.inputs())
    for stage in planned.stages():
        if failing not in topological_order([stage]):
            build_artifact(stage, tmp_path, lambda folder: {}, argv=[])
    study, missing = _measurable(planned, [Failure(failing, StageError("out of memory"), ())], tmp_path)
    lost = {"Improve"} if has_cells else {row.method for row in planned.rows}
    assert {row.method for row in planned.rows} - {row.method for row in study.rows} == lost
    assert {line["method"] for line in missing} == lost
    assert missing[0]["reason"] == f"{failing.label} (seed {failing.seed}) failed: out of memory"


def test_a_run_without_a_single_row_has_no_result(study, tmp_path, monkeypatch):
    def fail(outcomes):
        raise LookupError("a defect")

    monkeypatch.setattr("repro.evaluation.evaluate.summarise", fail)
    with pytest.raises(StageError, match=r"a defect.*Also failed: evaluate toy:qwen3-student \(seed 0\)\."):
        run(study, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
