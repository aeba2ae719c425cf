"""A student that became worse while it was trained is named, and one whose steps are noise is not."""

import json
import random

from rich.console import Console

from repro.stages.accuracy_course import accuracy_course, describe_course, describe_fall
from repro.workflow import stage_run


def history(*parts, seed=0, noise=0.04):
    """Return rows whose accuracy scatters around a level for a number of steps each."""
    draw = random.Random(seed)
    return [{"step": 1, "accuracy": level + draw.gauss(0, noise)} for level, steps in parts for _ in range(steps)]


def test_a_student_that_collapses_within_the_first_tenth_is_named():
    course = accuracy_course(history((0.38, 4), (0.25, 4), (0.15, 142)))
    assert course.has_fallen
    assert (course.first_steps, course.last_steps, course.steps) == (3, 15, 150)
    text = describe_fall(course)
    assert "Evaluate the original student on the same rows" in text
    assert "docs/troubleshooting.md" in text
    assert text.startswith(f"The student became worse: {course.first:.0%} of its training completions were correct in")


def test_noise_a_rise_and_a_small_fall_are_not_named():
    flat = [accuracy_course(history((0.4, 150), seed=seed)).has_fallen for seed in range(300)]
    assert sum(flat) <= 3  # a rule of three standard errors, and a floor
    few = [accuracy_course(history((0.4, 12), seed=seed, noise=0.15)).has_fallen for seed in range(300)]
    assert sum(few) <= 6
    assert not accuracy_course(history((0.4, 5), (0.7, 145))).has_fallen
    assert not accuracy_course(history((0.4, 5), (0.36, 145), noise=0.001)).has_fallen


def test_few_steps_have_a_start_and_no_warning():
    course = accuracy_course(history((0.5, 2), (0.1, 2), noise=0.0))
    assert not course.has_fallen
    assert describe_course(course).endswith("0.500 in the first 2 steps, 0.100 in the last step of 4")


def test_steps_without_an_accuracy_are_left_out():
    assert accuracy_course([{"step": 1, "loss": 1.0}, {"step": 2, "accuracy": None}]) is None
    rows = [row for accuracy in (0.4, 0.4) for row in ({"accuracy": accuracy}, {"loss": 1.0})]
    assert accuracy_course(rows).steps == 2


def printed(monkeypatch, tmp_path, rows):
    folder = tmp_path / "distill-1"
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps({"stage": "distill", "label": "distill gkd-rkl", "config": {}}))
    (folder / "summary.json").write_text(json.dumps({"steps": len(rows), "accuracy": 0.15}))
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(stage_run, "run_with_inputs", lambda *args, **kwargs: folder)
    console = Console(width=500, record=True, file=(tmp_path / "screen").open("w"))
    stage_run.run_and_print(None, tmp_path, console=console, quiet=True)
    return console.export_text()


def test_the_command_says_where_the_student_started_and_warns(monkeypatch, tmp_path):
    text = printed(monkeypatch, tmp_path, history((0.38, 4), (0.15, 146), noise=0.01))
    assert "accuracy of the student's training completions: 0.3" in text
    assert text.rstrip().splitlines()[-1].startswith("The student became worse: 38%")


def test_the_command_does_not_warn_of_a_student_that_learnt(monkeypatch, tmp_path):
    text = printed(monkeypatch, tmp_path, history((0.38, 4), (0.7, 146), noise=0.01))
    assert "accuracy of the student's training completions: 0.3" in text
    assert "became worse" not in text
