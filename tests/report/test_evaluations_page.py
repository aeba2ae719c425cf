"""`repro compare --page`: what a reader of the page sees, where it comes from, and what it does not replace."""

import json
import re

import pytest

from repro.errors import InputError
from repro.report.evaluations import compare_evaluations
from repro.report.evaluations_page import write_comparison_page

from .conftest import HOSTILE, store_evaluation


def store_training(cache, name, kind, history=(), inputs=(), **config):
    """Store the record and the log of a training; return the name of its model."""
    folder = cache / name
    folder.mkdir(parents=True)
    settings = {"learning_rate": 0.003, "eta": -0.5} if kind == "calibrate" else {"method": "sft", "divergence": None}
    record = {
        "stage": kind,
        "label": f"{kind} something",
        "config": {"kind": kind, "config": settings, "seed": 4, **config},
        "inputs": list(inputs),
        "seconds": 61.2,
        "started": "2026-11-01T10:00:00+00:00",
        "hardware": {"processor": "a processor"},
        "gpus": [],
        "code": {"commit": "abcdef0123456789", "dirty": False},
    }
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "summary.json").write_text(json.dumps({"alarm": "completions ran away"} if history else {}))
    if history:
        (folder / "history.jsonl").write_text("\n".join(map(json.dumps, history)))
    return f"elsewhere/{name}/model"


@pytest.fixture
def folders(tmp_path):
    """An untouched student, and one that was distilled from a calibrated teacher."""
    cache = tmp_path / "cache"
    large, tiny = ({"kind": "base", "name": f"org/{name}", "revision": "abc"} for name in ("large", "tiny"))
    steps = [{"step": n, "loss": 1 / n, "length": 9.0} for n in (1, 2, 3)]
    teacher = store_training(cache, "calibrate-0123456789abcdef", "calibrate", steps, teacher=large)
    student = store_training(
        cache,
        "distill-0123456789abcdef",
        "distill",
        [{"step": n, "loss": n / 2} for n in (1, 2, 3)],
        ["sample-0123456789abcdef"],
        student=tiny,
        teacher={"kind": "base", "name": teacher, "revision": "sha256:1"},
    )
    untouched = store_evaluation(cache / "evaluate-u", lambda item: 1 + item % 2, model="org/tiny")
    return untouched, store_evaluation(cache / "evaluate-s", lambda item: item % 2, model=student)


@pytest.fixture
def page(folders, tmp_path):
    page, brief = write_comparison_page(compare_evaluations(folders), tmp_path / "out" / "page.html")
    return page.read_text(), brief.read_text()


def test_the_difference_and_its_interval_are_drawn_and_said(page):
    html, brief = page
    for text in (html, brief):
        assert re.search(r"B - A: -0\.500 \[-0\.\d{3}, -0\.\d{3}\] on 64 shared items: B is worse", text)
    assert "file-numeric, A 0.750; file-numeric, B 0.250; B - A -0.500." in html  # said to who cannot see the picture
    assert "| B | org/tiny by sft from org/large at eta -0.5 (seed 4) | evaluate-s |" in brief


def test_every_artifact_behind_an_evaluation_is_listed_with_what_is_known_of_it(page):
    html, brief = page
    rows = {line.split(" | ")[0].lstrip("| "): line for line in brief.splitlines() if line.startswith("| ")}
    assert (
        "| calibrate org/large at eta -0.5 | B | 4 | 61 | a processor | abcdef012345 | 2026-11-01 |"
        in (rows["calibrate-0123456789abcdef"])
    )
    assert "| not there, or not readable | B |" in rows["sample-0123456789abcdef"]
    assert "distill-0123456789abcdef (B): completions ran away" in brief
    assert brief.count("repro verify ") == 2
    assert "B: org/large at eta -0.5 (seed 4) loss ends at 0.333" in html
    assert "B: org/tiny by sft from org/large at eta -0.5 (seed 4) loss ends at 1.5" in html
    assert "learning_rate" in html


def test_completions_are_those_of_one_question(page):
    html, _ = page
    prompts = re.findall(r'<p class="label">prompt</p><pre[^>]*>(.*?)</pre>', html)
    assert prompts == ["Question 0", "Question 1"]
    assert len(re.findall(r"<h5>[AB]: ", html)) == 4


def test_hostile_names_and_completions_are_escaped(tmp_path):
    hostile = HOSTILE.replace("\ud800", "")
    folders = [store_evaluation(tmp_path / name, lambda item: 1, prompt=hostile, model=hostile) for name in "ab"]
    page, _ = write_comparison_page(compare_evaluations(folders), tmp_path / "page.html")
    html = page.read_text()
    assert "<img src=x" not in html
    assert html.count("<script>") == 1


def test_what_was_set_differently_stands_before_the_differences(tmp_path):
    short = store_evaluation(tmp_path / "a", lambda item: 1, tokens=8)
    long = store_evaluation(tmp_path / "b", lambda item: 2, tokens=64)
    _, brief = write_comparison_page(compare_evaluations([short, long]), tmp_path / "page.html")
    text = brief.read_text()
    assert "| max_completion_tokens | 8 | 64 |" in text
    assert text.index("made with different settings") < text.index("B - A")


def test_two_samplings_of_one_model_are_told_apart(tmp_path):
    folders = [store_evaluation(tmp_path / name, lambda item: 1) for name in "ab"]
    record = json.loads((folders[1] / "record.json").read_text())
    record["config"]["seed"] = 5
    (folders[1] / "record.json").write_text(json.dumps(record))
    page, brief = write_comparison_page(compare_evaluations(folders), tmp_path / "page.html")
    assert "| B | org/student, sampling seed 5 | b |" in brief.read_text()
    assert "<h5>B: org/student, sampling seed 5</h5>" in page.read_text()


def test_a_damaged_log_is_named_and_the_page_is_written(folders, tmp_path):
    log = folders[1].parent / "distill-0123456789abcdef" / "history.jsonl"
    log.write_text(log.read_text()[:-3])
    page, _ = write_comparison_page(compare_evaluations(folders), tmp_path / "page.html")
    assert "The log or the settings of distill-0123456789abcdef cannot be read." in page.read_text()


def test_an_artifact_is_listed_once_however_its_evaluations_are_named(folders, tmp_path, monkeypatch):
    other = store_evaluation(
        folders[1].parent / "evaluate-t", lambda item: 1, model="elsewhere/distill-0123456789abcdef/model", tokens=8
    )
    monkeypatch.chdir(tmp_path)
    _, brief = write_comparison_page(
        compare_evaluations([folders[1], other.relative_to(tmp_path)]), tmp_path / "p.html"
    )
    rows = [line for line in brief.read_text().splitlines() if line.startswith("| distill-0123456789abcdef ")]
    assert len(rows) == 1
    assert "| A, B |" in rows[0]


def test_its_own_page_is_replaced_and_no_other_file(folders, tmp_path):
    comparison = compare_evaluations(folders)
    page = tmp_path / "page.html"
    write_comparison_page(comparison, page)
    write_comparison_page(comparison, page)
    page.write_text("notes of mine")
    with pytest.raises(InputError, match=r"was not written by `repro compare`\. Choose another with --page FILE"):
        write_comparison_page(comparison, page)
    assert page.read_text() == "notes of mine"
    with pytest.raises(InputError, match=r"--page .*picture.svg: name the HTML page"):
        write_comparison_page(comparison, tmp_path / "picture.svg")
    (tmp_path / "report.html").write_text('content="repro report"')
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(InputError, match=r"report\.html: exists"):
        write_comparison_page(comparison, tmp_path / "report.html")
    with pytest.raises(InputError, match="this is inside an artifact, which must not get other files"):
        write_comparison_page(comparison, folders[0])
