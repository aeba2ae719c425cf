"""`repro compare` of evaluations: intervals, chance, paired differences, and refusals of one line."""

import json

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.report.evaluations import (
    are_evaluations,
    compare_evaluations,
    describe_evaluation,
    print_evaluations,
)

from .conftest import KEYS
from .conftest import store_evaluation as evaluation


def made_by(cache, name, **config):
    """Store the record of a training."""
    (cache / name / "model").mkdir(parents=True)
    record = {"stage": config["kind"], "label": "a training", "config": config}
    (cache / name / "record.json").write_text(json.dumps(record))
    return f"elsewhere/cache/{name}/model"


def text_of(comparison):
    console = Console(record=True, width=100)
    print_evaluations(comparison, console)
    return console.export_text()


def test_a_better_student_an_equal_one_and_one_at_chance(tmp_path):
    untouched = evaluation(tmp_path / "cache" / "a", lambda item: item % 2)
    better = evaluation(tmp_path / "cache" / "b", lambda item: 1 + item % 2)
    equal = evaluation(tmp_path / "cache" / "c", lambda item: item % 2)
    guessing = evaluation(tmp_path / "cache" / "d", lambda item: item % 8 == 0)
    comparison = compare_evaluations([untouched, better, equal, guessing])
    up, same, down = comparison.differences["file-numeric"]
    assert up.difference == pytest.approx(0.5)
    assert 0.4 < up.interval[0] < 0.5 < up.interval[1] < 0.6
    assert same.interval[0] < 0 == same.difference < same.interval[1]
    assert down.items == 64
    chance = comparison.evaluations[0].scores["file-numeric"].chance
    assert (chance.score, chance.is_estimate) == (pytest.approx(7 / 63), True)  # 8 answers, each of 8 items
    assert [e.scores["file-numeric"].is_above_chance for e in comparison.evaluations] == [True, True, True, False]
    text = text_of(comparison)
    assert "file-numeric, 64 items x 2; chance about 0.111" in text
    assert "B - A: +0.500 [" in text
    assert "shared items: B is better" in text
    assert "shared items: no difference is seen" in text
    assert "shared items: D is worse" in text
    content = json.loads(json.dumps(comparison.to_dict()))
    assert content["differences"]["file-numeric"][0]["difference"] == pytest.approx(0.5)
    assert content["evaluations"][3]["tasks"]["file-numeric"]["above_chance"] is False
    assert "neither is above chance" in text_of(compare_evaluations([guessing, guessing]))


def test_an_evaluation_in_one_line(tmp_path):
    (line,) = describe_evaluation(evaluation(tmp_path / "cache" / "a", lambda item: item % 2))
    assert line.startswith("acc 0.250 [0.1")
    assert line.endswith("] on file-numeric (64 items x 2); chance about 0.111")
    (alone,) = describe_evaluation(evaluation(tmp_path / "cache" / "b", lambda item: 2, keys=["7"]))
    assert alone == "acc 1.000 on file-numeric (1 item x 2)"  # one item has no spread


@pytest.mark.parametrize(("right", "end"), [(0, 0.0), (2, 1.0)])
def test_an_interval_ends_where_an_accuracy_does(tmp_path, right, end):
    folder = evaluation(tmp_path / "a", lambda item: right)
    low, high = compare_evaluations([folder, folder]).evaluations[0].scores["file-numeric"].interval
    assert low < high
    assert end in (low, high)


def test_chance_of_a_task_with_options_is_that_of_the_task_and_of_answers_that_never_repeat_none(tmp_path):
    choice = evaluation(tmp_path / "a", lambda item: 1, task="csqa", keys=["A", "B"] * 20)
    assert next(describe_evaluation(choice)).endswith("; chance 0.200")
    numbers = evaluation(tmp_path / "b", lambda item: 1, keys=[str(n) for n in range(40)])
    assert "chance" not in next(describe_evaluation(numbers))
    plugin = evaluation(tmp_path / "c", lambda item: 1, task="of-a-plugin-that-is-not-loaded")
    assert next(describe_evaluation(plugin)).endswith("; chance about 0.111")


def test_models_of_other_commands_are_named_by_what_made_them(tmp_path):
    cache = tmp_path / "cache"
    base = {"kind": "base", "name": "/models/acme-large", "revision": "sha256:1"}
    calibrated = made_by(
        cache, "calibrate-0123456789abcdef", kind="calibrate", teacher=base, config={"eta": -0.5}, seed=2
    )
    student = made_by(
        cache,
        "distill-0123456789abcdef",
        kind="distill",
        student={"kind": "base", "name": "org/tiny", "revision": "abc"},
        teacher={"kind": "base", "name": calibrated, "revision": "sha256:2"},
        config={"method": "gkd-rkl", "divergence": None},
        seed=1,
    )
    folders = [
        evaluation(cache / f"evaluate-{n}", lambda item: 1, model=name) for n, name in enumerate([student, calibrated])
    ]
    labels = [e.label for e in compare_evaluations(folders).evaluations]
    assert labels == [
        "org/tiny by gkd-rkl from acme-large at eta -0.5 (seed 1, its teacher 2)",
        "acme-large at eta -0.5 (seed 2)",
    ]


def test_what_was_set_differently_is_named(tmp_path):
    folders = [evaluation(tmp_path / str(n), lambda item: 1, tokens=n) for n in (32, 64)]
    assert "Set differently: max_completion_tokens: A 32, B 64" in text_of(compare_evaluations(folders))


def test_only_shared_items_are_paired(tmp_path):
    first = evaluation(tmp_path / "a", lambda item: 1)
    second = evaluation(tmp_path / "b", lambda item: 2, keys=KEYS[:40])
    (difference,) = compare_evaluations([first, second]).differences["file-numeric"]
    assert (difference.items, difference.difference) == (40, pytest.approx(0.5))


@pytest.mark.parametrize("change", [{"task": "gsm8k"}, {"prompt": "Another file's row"}, {"first_item": 1000}])
def test_evaluations_without_shared_items_are_refused(tmp_path, change):
    """Rows of two files may have the same numbers: they are other items."""
    folders = [evaluation(tmp_path / "a", lambda item: 1), evaluation(tmp_path / "b", lambda item: 1, **change)]
    with pytest.raises(InputError, match="share no items"):
        compare_evaluations(folders)


def test_what_is_no_evaluation_is_refused(tmp_path):
    first = evaluation(tmp_path / "cache" / "a", lambda item: 1)
    made_by(tmp_path / "cache", "calibrate-0123456789abcdef", kind="calibrate")
    with pytest.raises(InputError, match=r"not an evaluation\. Evaluate its model: repro evaluate .*/model"):
        compare_evaluations([first, tmp_path / "cache" / "calibrate-0123456789abcdef"])
    (tmp_path / "table2-toy").mkdir()
    with pytest.raises(InputError, match=r"is an artifact and .*table2-toy is not"):
        are_evaluations([tmp_path / "table2-toy", first])
    assert not are_evaluations([tmp_path / "table2-toy"])
    single = evaluation(tmp_path / "cache" / "single", lambda item: 1, keys=["7"])
    with pytest.raises(InputError, match="has one item"):
        compare_evaluations([single, single])
    (first / "summary.json").unlink()
    with pytest.raises(InputError, match="not readable as an evaluation"):
        compare_evaluations([first, first])
