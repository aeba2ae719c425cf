"""All data sets on rows of their true schema: prompts, keys, ids, splits."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tasks.schema_rows import CSQA_HUB, CSQA_ORIGINAL, ROWS, Write

from repro.errors import InputError
from repro.tasks import registry
from repro.tasks.grading import grade
from repro.tasks.task import Item

DIVIDED = [name for name in ROWS if name != "vicuna"]


def both_splits(name: str, data: Path) -> tuple[list[Item], list[Item]]:
    task = registry.get(name, data=data)
    return task.items("train", None, 0), task.items("test", None, 0)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", DIVIDED)
def test_one_file_is_divided_without_loss_or_overlap(name: str, suffix: str, write: Write) -> None:
    train, test = both_splits(name, write(ROWS[name], f"train.{suffix}"))
    assert len(train) + len(test) == len(ROWS[name])
    assert train
    assert test
    assert not {item.id for item in train} & {item.id for item in test}
    assert not {item.prompt for item in train} & {item.prompt for item in test}
    assert len({item.id for item in train + test}) == len(ROWS[name])
    assert {item.task for item in train + test} == {name}


@pytest.mark.parametrize("name", DIVIDED)
def test_ids_and_splits_do_not_depend_on_the_order_of_rows(name: str, write: Write) -> None:
    shuffled = random.Random(1).sample(ROWS[name], len(ROWS[name]))
    assert both_splits(name, write(ROWS[name], "a.jsonl")) == both_splits(name, write(shuffled, "b.jsonl"))


@pytest.mark.parametrize("name", DIVIDED)
def test_formats_give_the_same_items(name: str, write: Write) -> None:
    assert both_splits(name, write(ROWS[name], "a.jsonl")) == both_splits(name, write(ROWS[name], "b.parquet"))


def test_prompts_and_keys(write: Write) -> None:
    expected = {
        "gsm8k": ("numeric", "Ada packs 140 boxes", "978"),
        "bigmath-4": ("numeric", "Let $x$ be a number with $x^2 = 9$", r"\frac{3}{2}"),
        "csqa": ("choice", "Where would a person keep 2 jars of jam?", "C"),
        "mmlu-pro": ("choice", "divides 4 * 31?", "A"),
        "supergpqa": ("choice", "Which gas fills lamp number 7?", "A"),
        "dolly": ("open", "Give 3 reasons to plant a hedge.\n\nHedges shelter birds.", None),
        "vicuna": ("open", "How do I learn to whistle 3 tunes?", None),
        "file-numeric": ("numeric", "39 + 1 = ?", "40"),
        "file-choice": ("choice", "39: A. x, B. y", "B"),
        "file-open": ("open", "Sing about 4.", None),
    }
    for name, (kind, text, key) in expected.items():
        task = registry.get(name, data=write(ROWS[name], f"{name}.jsonl"))
        items = task.items("test", None, 0)
        if name != "vicuna":
            items = items + task.items("train", None, 0)
        (item,) = [item for item in items if text in item.prompt]
        assert (task.kind, item.key) == (kind, key)
        instruction = {"numeric": r"\boxed{}", "choice": "Answer: X", "open": ""}[kind]
        assert item.prompt.endswith(text) if kind == "open" else instruction in item.prompt


def test_options_are_lettered_lines(write: Write) -> None:
    (item,) = registry.get("file-choice", data=write(ROWS["file-choice"])).items("test", 1, 0)
    assert item.prompt.startswith(item.id.removeprefix("file-choice-q"))
    csqa = registry.get("csqa", data=write(CSQA_ORIGINAL, "csqa.jsonl")).items("train", 1, 0)[0]
    assert "\nA. pantry\nB. river\nC. cloud\nD. drum\nE. sock\n" in csqa.prompt


def test_both_layouts_of_csqa_are_the_same_items(write: Write) -> None:
    assert both_splits("csqa", write(CSQA_ORIGINAL, "original.jsonl")) == both_splits(
        "csqa", write(CSQA_HUB, "hub.parquet")
    )


def test_a_gold_solution_is_graded_right(write: Write) -> None:
    items = registry.get("gsm8k", data=write(ROWS["gsm8k"])).items("train", None, 0)
    keys = {item.key for item in items}
    for row in ROWS["gsm8k"]:
        number = row["answer"].rsplit("#### ", 1)[1]
        if number.replace(",", "") in keys:
            assert grade("numeric", rf"\boxed{{{number}}}", number.replace(",", "")).correct


def test_vicuna_is_for_evaluation_only(write: Write) -> None:
    task = registry.get("vicuna", data=write(ROWS["vicuna"]))
    assert len(task.items("test", None, 0)) == 40
    with pytest.raises(InputError, match="vicuna has no training rows"):
        task.items("train", None, 0)


def test_a_folder_gives_its_splits(write: Write) -> None:
    rows: list[dict[str, Any]] = ROWS["gsm8k"]
    write(rows[:30], "folder/train.jsonl")
    folder = write(rows[30:], "folder/test-00000-of-00001.parquet").parent
    train, test = both_splits("gsm8k", folder)
    assert (len(train), len(test)) == (30, 10)
    assert {item.key for item in test} == {row["answer"].rsplit("#### ", 1)[1].replace(",", "") for row in rows[30:]}


def test_a_training_row_that_is_also_a_test_row_is_dropped(write: Write) -> None:
    rows = ROWS["gsm8k"]
    duplicate = rows[35] | {"question": "  " + rows[35]["question"].upper()}
    write([*rows[:30], duplicate], "folder/train.jsonl")
    train, test = both_splits("gsm8k", write(rows[30:], "folder/test.jsonl").parent)
    assert (len(train), len(test)) == (30, 10)


def test_a_folder_as_downloaded_from_the_hub(write: Write) -> None:
    unlabelled = [row | {"answerKey": ""} for row in CSQA_HUB[:5]]
    write(CSQA_HUB[:20], "data/train-00000-of-00001.parquet")
    write(unlabelled, "data/test-00000-of-00001.parquet")
    folder = write(CSQA_HUB[20:], "data/validation-00000-of-00001.parquet").parent
    assert [len(split) for split in both_splits("csqa", folder)] == [20, 20]
    write(ROWS["mmlu-pro"], "pro/test-00000-of-00001.parquet")
    folder = write(ROWS["mmlu-pro"][:2], "pro/validation-00000-of-00001.parquet").parent
    assert sum(len(split) for split in both_splits("mmlu-pro", folder)) == 40
    folder = write(ROWS["bigmath-4"], "level_4/train-00000-of-00001.parquet").parent
    assert sum(len(split) for split in both_splits("bigmath-4", folder)) == 40


def test_the_revision_of_a_file_is_its_content(write: Write) -> None:
    first = registry.get("gsm8k", data=write(ROWS["gsm8k"], "a.jsonl")).revision  # type: ignore[attr-defined]
    same = registry.get("gsm8k", data=write(ROWS["gsm8k"], "b.jsonl")).revision  # type: ignore[attr-defined]
    different = registry.get("gsm8k", data=write(ROWS["gsm8k"][1:], "c.jsonl")).revision  # type: ignore[attr-defined]
    assert first == same != different
    assert first.startswith("sha256:")


def test_answers_of_a_user_file_may_be_numbers(write: Write) -> None:
    rows = [{"prompt": "half of 1?", "answer": 0.5}, {"prompt": "half of 4?", "answer": 2}]
    train, test = both_splits("file-numeric", write(rows))
    assert {item.key for item in train + test} == {"0.5", "2"}


def test_a_repeated_text_is_one_item(write: Write) -> None:
    rows = ROWS["bigmath-4"]
    assert both_splits("bigmath-4", write([*rows, *rows], "a.jsonl")) == both_splits(
        "bigmath-4", write(rows, "b.jsonl")
    )


def test_json_and_blank_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in ROWS["gsm8k"]) + "\n\n")
    assert sum(len(split) for split in both_splits("gsm8k", path)) == 40
