"""From plan to page: two rows of a study really run; its other claims say that they were not run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.pipeline.cluster import Execution
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.report.expected_verdicts import record_expected_verdicts
from repro.report.reload import judge_again, show_result
from repro.report.rerun import rerun_command
from repro.report.result import read_result
from repro.tables.verdicts.known_verdicts import compare_with_known, load_known_verdicts
from repro.workflow.study import run_study

SETTINGS = [
    "test_items=6",
    "evaluation.batch_sequences=96",
    "tasks=toy-bm4,toy-dolly",
    "evaluation.completions_per_prompt=4",
]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    study = plan("table2", scale="toy", seeds=1, assignments=SETTINGS)
    two_rows = replace(study, rows=tuple(row for row in study.rows if row.method in {"Teacher", "Student"}))
    out = tmp_path_factory.mktemp("study")
    return run_study(
        two_rows, out, Execution(Resources(), workers=1, backend="none"), quiet=True, console=Console(quiet=True)
    )


@pytest.fixture
def result(outcome):
    return json.loads((outcome.folder / "results.json").read_text())


def test_measured_values_are_per_item_and_paired(result):
    table = result["measured"][0]
    cells = {(c["row"], c["task"], c["metric"]): c["values"] for c in table["cells"]}
    assert {key[2] for key in cells if key[1] == "toy-bm4"} == {
        *("acc", "maj4", "pass4", "unparsed", "truncated", "repeating", "empty")
    }
    assert ("Teacher", "toy-dolly", "reward") in cells
    assert ("Teacher", "toy-dolly", "unparsed") not in cells
    assert all(len(values[0]) == 6 for values in cells.values())
    assert len(table["items"]["toy-bm4"]) == len(set(table["items"]["toy-bm4"])) == 6


def test_the_teacher_is_measured_above_the_student(result):
    means = {line["label"]: line["summary"]["toy-bm4"]["acc"] for line in result["stages"]}
    assert means["evaluate toy:qwen3-teacher"] > means["evaluate toy:qwen3-student"] + 0.2


def test_claims_that_could_not_be_tested_say_why(result):
    verdicts = {v["claim"]: v for v in result["verdicts"]["claims"]}
    assert verdicts["student-under-teacher"]["estimate"] > 0
    improve = verdicts["improve-beats-gkd-rkl"]
    assert improve["value"] == "inconclusive"
    assert "not run" in improve["text"]


def test_the_page_says_that_it_is_scaled_down_and_how_to_rerun(outcome, result):
    brief, page = ((outcome.folder / name).read_text() for name in ("report.md", "report.html"))
    assert brief.lower().count("scaled down: no verdict on the paper's numbers") >= 3
    for text in ("Failure rates", "Cost", "Environment and rerun", rerun_command(result)):
        assert text in brief
        assert text in page
    for text in ("Completions side by side", "Provenance, settings, errata", "Library versions"):
        assert text in page


def test_the_record_holds_what_the_page_needs(result):
    assert {len(e["completions"]) for e in result["examples"]} == {2}
    assert {e["task"] for e in result["examples"]} == {"toy-bm4", "toy-dolly"}
    assert result["curves"] == []  # nothing was trained
    assert "claims.toml" in result["stored_files"]
    assert {line["kind"] for line in result["stages"]} == {"evaluate"}


def test_the_rerun_command_names_the_settings(result):
    assert "--set test_items=6" in rerun_command(result)


def test_judging_a_stored_result_again_gives_the_same_verdicts(outcome, result):
    _, report = judge_again(read_result(outcome.folder))
    assert [v.value for v in report.claims] == [v["value"] for v in result["verdicts"]["claims"]]
    console = Console(record=True, width=100)
    show_result(outcome.folder, console)
    text = console.export_text()
    assert all(v.statement[:20] in text for v in report.claims)
    assert "no verdict on the paper's numbers" in text


@pytest.fixture
def three_seeds(result, tmp_path):
    """A result of three seeds of committed code, made by repeating the one seed."""
    repeated = json.loads(json.dumps(result))
    repeated["seeds"] = [0, 1, 2]
    repeated["code"] = {"commit": "0" * 40, "dirty": False}
    table = repeated["measured"][0]
    table["seeds"] = [0, 1, 2]
    for cell in table["cells"]:
        cell["values"] = cell["values"] * 3
    folder = tmp_path / "three"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(repeated))
    return folder


def test_the_record_is_written_from_several_seeds_and_a_change_is_noticed(three_seeds, outcome, tmp_path):
    path = record_expected_verdicts(three_seeds, tmp_path / "known")
    known = load_known_verdicts(path)
    assert known.seeds == (0, 1, 2)
    _, report = judge_again(read_result(outcome.folder))
    assert compare_with_known(report, known) == []
    worse = replace(
        report,
        claims=tuple(
            replace(v, value="contradicted") if v.claim == "student-under-teacher" else v for v in report.claims
        ),
    )
    assert [d.claim for d in compare_with_known(worse, known)] == ["student-under-teacher"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "paper"}, "Only the toy world's verdicts are recorded"),
        ({"code": {"commit": "0" * 40, "dirty": True}}, "not committed"),
        ({"code": {"commit": None, "dirty": None}}, "not committed"),
    ],
)
def test_the_record_refuses(three_seeds, tmp_path, change, message):
    file = three_seeds / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=message):
        record_expected_verdicts(three_seeds, tmp_path)
    assert not list(Path(tmp_path).glob("*.toml"))


def test_a_record_of_another_world_has_a_label(three_seeds, tmp_path):
    file = three_seeds / "results.json"
    content = json.loads(file.read_text())
    content["settings"]["world"] = "world4"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="made in world4"):
        record_expected_verdicts(three_seeds, tmp_path)
    path = record_expected_verdicts(three_seeds, tmp_path, "world4")
    known = load_known_verdicts(path)
    assert (path.name, known.world, known.study) == ("table2-toy-world4.toml", "world4", "table2")
    assert known.development_worlds == ("world0", "world1", "world2")
    assert known.tasks == tuple(content["tasks"])


def test_the_record_refuses_one_seed(outcome, tmp_path, monkeypatch, result):
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(result | {"code": {"commit": "0" * 40, "dirty": False}}))
    with pytest.raises(InputError, match="at least 3 seeds"):
        record_expected_verdicts(folder, tmp_path)
