"""`repro compare` of evaluations: intervals, chance, paired differences, and refusals of one line."""

import functools
import json

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.report.evaluation_text import describe_evaluation, print_evaluations
from repro.report.evaluations import are_evaluations, compare_evaluations

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
    assert "shared items: not decided, the interval includes 0" in text
    assert "shared items: D is worse" in text
    content = json.loads(json.dumps(comparison.to_dict()))
    assert content["differences"]["file-numeric"][0]["difference"] == pytest.approx(0.5)
    assert content["evaluations"][3]["tasks"]["file-numeric"]["above_chance"] is False
    assert "neither is shown to be above chance" in text_of(compare_evaluations([guessing, guessing]))


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


def train(cache, number, *, seed, method="gkd-rkl", teacher_seed=None):
    """Store the record of a student's training, and of its teacher's if that has a seed; return the model's name."""
    teacher = {"kind": "base", "name": "org/large", "revision": "abc"}
    if teacher_seed is not None:
        name = made_by(
            cache,
            f"calibrate-{number:016x}",
            kind="calibrate",
            teacher=teacher,
            config={"eta": -0.5},
            seed=teacher_seed,
        )
        teacher = {"kind": "base", "name": name, "revision": f"sha256:{number}"}
    student = {"kind": "base", "name": "org/tiny", "revision": "abc"}
    config = {"method": method, "divergence": None}
    return made_by(
        cache, f"distill-{number:016x}", kind="distill", student=student, teacher=teacher, config=config, seed=seed
    )


def test_trainings_that_differ_in_their_seed_alone_are_pooled(tmp_path):
    cache = tmp_path / "cache"
    untouched = evaluation(cache / "evaluate-u", lambda item: 1)
    rights = {0: lambda item: 2, 1: lambda item: 1 + item % 2, 2: lambda item: 1 + item % 2}
    students = [
        evaluation(cache / f"evaluate-{seed}", rights[seed], model=train(cache, seed, seed=seed)) for seed in (2, 0, 1)
    ]
    other = evaluation(cache / "evaluate-o", lambda item: 1, model=train(cache, 9, seed=0, method="sft"))
    comparison = compare_evaluations([untouched, students[0], other, *students[1:]])
    assert [len(e.folders) for e in comparison.evaluations] == [1, 3, 1]
    pooled = comparison.evaluations[1]
    assert pooled.label == "org/tiny by gkd-rkl from org/large (3 training seeds: 0, 1, 2)"
    assert pooled.trainings == ((0,), (1,), (2,))
    score = pooled.scores["file-numeric"]
    assert score.value == pytest.approx((1 + 0.75 + 0.75) / 3)
    (alone,) = [e.scores["file-numeric"] for e in compare_evaluations([untouched, students[1]]).evaluations[1:]]
    assert score.interval[1] - score.interval[0] > 2 * (alone.interval[1] - alone.interval[0])
    difference = comparison.differences["file-numeric"][0]
    assert difference.difference == pytest.approx(score.value - 0.5)
    # three seeds that differ by a quarter: half the interval is t(2) x the standard error of their mean, at least
    assert difference.interval[1] - difference.difference > 4.3 * (0.25 / 3)
    text = text_of(comparison)
    assert "over the items and the training seeds. Those of C rest on one training and say nothing" in " ".join(
        text.split()
    )
    content = json.loads(json.dumps(comparison.to_dict()))
    assert content["evaluations"][1]["training_seeds"] == [[0], [1], [2]]
    assert len(content["evaluations"][1]["artifacts"]) == 3


def count_right(seed, better, item):
    """Return how many of an item's two completions are right: under another seed than 0 one more for every other item."""
    return better + (item % 2 if seed else 0)


def test_pooled_students_are_paired_by_training_seed(tmp_path):
    """The seeds differ by a quarter, and both methods by the same: their difference has no spread between trainings."""
    cache = tmp_path / "cache"
    folders = []
    for number, (method, better) in enumerate([("gkd-rkl", 0), ("sft", 1)]):
        for seed in range(3):
            model = train(cache, 3 * number + seed, seed=seed, method=method)
            folders.append(
                evaluation(
                    cache / f"evaluate-{method}-{seed}", functools.partial(count_right, seed, better), model=model
                )
            )
    (difference,) = compare_evaluations(folders).differences["file-numeric"]
    assert difference.difference == pytest.approx(0.5)
    assert difference.interval[1] - difference.interval[0] < 0.1


def test_students_that_differ_in_a_setting_alone_are_told_apart(tmp_path):
    cache = tmp_path / "cache"
    base = {"kind": "base", "name": "org/tiny", "revision": "abc"}
    folders = []
    for n, rate in enumerate((0.003, 0.0003)):
        name = f"distill-{n:016x}"
        config = {"method": "sft", "divergence": None, "steps": 60, "learning_rate": rate}
        model = made_by(cache, name, kind="distill", student=base, teacher=base, config=config, seed=0)
        folders.append(evaluation(cache / f"evaluate-{n}", lambda item: 1, model=model))
    labels = [e.label for e in compare_evaluations(folders).evaluations]
    assert labels == [f"org/tiny by sft from org/tiny (seed 0), learning_rate {rate}" for rate in (0.003, 0.0003)]


def test_students_of_teachers_that_differ_in_their_seed_are_pooled_too(tmp_path):
    cache = tmp_path / "cache"
    untouched = evaluation(cache / "evaluate-u", lambda item: 1)
    models = [train(cache, n, seed=0, teacher_seed=n) for n in range(2)]
    folders = [evaluation(cache / f"evaluate-{n}", lambda item: 1, model=model) for n, model in enumerate(models)]
    pooled = compare_evaluations([untouched, *folders]).evaluations[1]
    assert pooled.trainings == ((0, 0), (0, 1))
    assert pooled.table.seeds == (0, 1)


def test_what_is_no_repetition_of_a_training_is_not_pooled(tmp_path):
    cache = tmp_path / "cache"
    models = [train(cache, n, seed=n) for n in range(2)]
    seeds = [evaluation(cache / f"evaluate-{n}", lambda item: 1, model=model) for n, model in enumerate(models)]
    assert len(compare_evaluations(seeds).evaluations) == 2  # nothing else: the seeds are what is compared
    longer = evaluation(cache / "evaluate-longer", lambda item: 1, model=models[1], tokens=128)
    assert len(compare_evaluations([seeds[0], longer]).evaluations) == 2
    published = [evaluation(cache / f"evaluate-p{n}", lambda item: 1) for n in range(2)]
    assert len(compare_evaluations([*published, seeds[0]]).evaluations) == 3
    again = evaluation(cache / "evaluate-again", lambda item: 1, model=models[0])  # one model, sampled twice
    assert len(compare_evaluations([published[0], seeds[0], again]).evaluations) == 3


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


def test_other_instructions_are_named_where_no_item_is_shared(tmp_path):
    first = evaluation(tmp_path / "a", lambda item: 1)
    second = evaluation(tmp_path / "b", lambda item: 1, prompt="Another question", instruction="Be brief.")
    with pytest.raises(InputError, match=r"differ: the task's own and file-numeric 'Be brief\.'\."):
        compare_evaluations([first, second])


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
    with pytest.raises(InputError, match="evaluated on one item"):
        compare_evaluations([single, single])
    (first / "summary.json").unlink()
    with pytest.raises(InputError, match="not readable as an evaluation"):
        compare_evaluations([first, first])
