"""A history keeps one line for each result, in order, and refuses what it cannot read."""

import json

import pytest

from repro.errors import InputError
from repro.report.history import read_history, record


@pytest.fixture
def result(tmp_path):
    """A results.json with what a line is made of; `made` tells one night from another."""

    def make(made="2026-11-24T02:00:00+00:00", value="reproduced"):
        claim = {"claim": "T2-improve", "family": "qwen3", "value": value, "estimate": 0.12, "interval": [0.05, 0.2]}
        other = {"claim": "T2-misled", "family": "qwen3", "value": "inconclusive", "estimate": None, "interval": None}
        content = {
            "study": "table2",
            "scale": "small",
            "families": ["qwen3"],
            "seeds": [0, 1],
            "made": made,
            "measured": [],
            "code": {"commit": "d4" * 20, "dirty": False},
            "libraries": {"torch": "2.13.0"},
            "hardware": {"gpus": [{"name": "H100"}]},
            "verdicts": {"claims": [claim, other]},
            "stages": [{"seconds": 10.0, "gpu_hours": 0.5}, {"seconds": 2.5, "gpu_hours": 0.25}],
        }
        folder = tmp_path / made[:10]
        folder.mkdir(exist_ok=True)
        (folder / "results.json").write_text(json.dumps(content))
        return folder

    return make


def test_a_line_holds_what_a_plot_wants(result, tmp_path):
    into = tmp_path / "deep" / "history.jsonl"
    assert record(result(), into)
    (line,) = read_history(into)
    assert line["counts"] == {"reproduced": 1, "contradicted": 0, "inconclusive": 1}
    assert (line["seconds"], line["gpu_hours"]) == (12.5, 0.75)
    assert line["commit"] == "d4" * 20
    assert line["claims"][0]["interval"] == [0.05, 0.2]


def test_the_same_result_is_recorded_once_and_nights_come_in_order(result, tmp_path):
    into = tmp_path / "history.jsonl"
    assert record(result("2026-11-25T02:00:00+00:00", "contradicted"), into)
    first = into.read_text()
    assert not record(tmp_path / "2026-11-25", into)
    assert into.read_text() == first
    assert record(result("2026-11-24T02:00:00+00:00"), into)
    assert [line["made"][:10] for line in read_history(into)] == ["2026-11-24", "2026-11-25"]


def test_lines_of_separate_files_make_one_history(result, tmp_path):
    """The nightly workflow appends a line with `cat`."""
    parts = []
    for day in ("2026-11-24", "2026-11-25"):
        record(result(f"{day}T02:00:00+00:00"), tmp_path / f"{day}.jsonl")
        parts.append((tmp_path / f"{day}.jsonl").read_text())
    (tmp_path / "all.jsonl").write_text("".join(parts))
    assert len(read_history(tmp_path / "all.jsonl")) == 2


@pytest.mark.parametrize("text", ["{not json\n", "[]\n", '{"made": "x"}\n'])
def test_a_broken_history_is_named_with_its_line_and_left_alone(result, tmp_path, text):
    into = tmp_path / "history.jsonl"
    into.write_text(text)
    with pytest.raises(InputError, match=r"history\.jsonl, line 1"):
        record(result(), into)
    assert into.read_text() == text


def test_no_result(tmp_path):
    with pytest.raises(InputError, match=r"results\.json"):
        record(tmp_path, tmp_path / "history.jsonl")
    assert not (tmp_path / "history.jsonl").exists()
