"""The history has one line for each result, in order; unreadable lines are refused."""

import json

import pytest

from repro.errors import InputError
from repro.report.history import append_to_history, read_history
from repro.tables.statistics.decision import VERDICT_VALUES


@pytest.fixture
def night(result, tmp_path):
    """Return a function that writes a results.json made at a given time into a new folder."""

    def make(made="2026-11-24T02:00:00+00:00"):
        folder = tmp_path / made[:10]
        folder.mkdir(exist_ok=True)
        (folder / "results.json").write_text(json.dumps({**result, "made": made}))
        return folder

    return make


def test_a_line_has_verdicts_cost_and_commit(night, result, tmp_path):
    into = tmp_path / "deep" / "history.jsonl"
    assert append_to_history(night(), into)
    (line,) = read_history(into)
    for role, name in (("claim", "counts"), ("premise", "premises"), ("control", "controls")):
        values = [claim["value"] for claim in result["verdicts"]["claims"] if claim["role"] == role]
        assert line[name] == {value: values.count(value) for value in VERDICT_VALUES}
        assert sum(line[name].values()) == len(values)
    assert sum(line["counts"].values()) > 0
    assert line["seconds"] == sum(stage["seconds"] for stage in result["stages"])
    assert line["commit"] == "0" * 40
    by_name = {claim["claim"]: claim for claim in line["claims"]}
    for claim in result["verdicts"]["claims"]:
        assert by_name[claim["claim"]]["interval"] == claim["interval"]
        assert by_name[claim["claim"]]["estimate"] == claim["estimate"]
    assert any(claim["estimate"] is not None for claim in line["claims"])


def test_a_result_is_recorded_once_and_nights_are_ordered(night, tmp_path):
    into = tmp_path / "history.jsonl"
    assert append_to_history(night("2026-11-25T02:00:00+00:00"), into)
    first = into.read_text()
    assert not append_to_history(tmp_path / "2026-11-25", into)
    assert into.read_text() == first
    assert append_to_history(night("2026-11-24T02:00:00+00:00"), into)
    assert [line["made"][:10] for line in read_history(into)] == ["2026-11-24", "2026-11-25"]


def test_lines_of_separate_files_make_one_history(night, tmp_path):
    """The nightly workflow appends a line with `cat`."""
    parts = []
    for day in ("2026-11-24", "2026-11-25"):
        append_to_history(night(f"{day}T02:00:00+00:00"), tmp_path / f"{day}.jsonl")
        parts.append((tmp_path / f"{day}.jsonl").read_text())
    (tmp_path / "all.jsonl").write_text("".join(parts))
    assert len(read_history(tmp_path / "all.jsonl")) == 2


@pytest.mark.parametrize("text", ["{not json\n", "[]\n", '{"made": "x"}\n'])
def test_a_broken_history_is_reported_by_line_and_not_changed(night, tmp_path, text):
    into = tmp_path / "history.jsonl"
    into.write_text(text)
    with pytest.raises(InputError, match=r"history\.jsonl, line 1"):
        append_to_history(night(), into)
    assert into.read_text() == text


def test_a_missing_result_writes_no_history(tmp_path):
    with pytest.raises(InputError, match=r"results\.json"):
        append_to_history(tmp_path, tmp_path / "history.jsonl")
    assert not (tmp_path / "history.jsonl").exists()
