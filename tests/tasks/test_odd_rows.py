"""Odd rows: an error with line and reason in the user's file, skipped and counted in a large data set of the hub."""

import json

import pytest

from repro.errors import InputError
from repro.pipeline import stage_inputs
from repro.stages import TaskData
from repro.tasks import dataset, registry
from repro.tasks.rows import Row

HALF = "\ud83d"


def numeric(n, **fields):
    return {"prompt": f"What is {n}?", "answer": n, **fields}


def write(tmp_path, rows):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def all_items(name, file):
    task = registry.get(name, data=file)
    return [item for split in ("train", "test") for item in task.items(split, None, 0)]


@pytest.mark.parametrize(
    ("name", "row", "field"),
    [
        ("file-numeric", numeric(3, prompt=f"How many {HALF}?"), "prompt"),
        ("file-numeric", numeric(3, answer=f"3{HALF}"), "answer"),
        ("file-numeric", numeric(3, id=f"a{HALF}"), "id"),
        ("file-open", {"prompt": f"\ude00 {HALF}"}, "prompt"),
        ("dolly", {"instruction": "Say.", "context": HALF}, "context"),
        (
            "csqa",
            {"id": "a", "question": "W?", "choices": {"label": ["A", "B"], "text": ["x", HALF]}, "answerKey": "A"},
            "choices.text",
        ),
        ("gsm8k", {"question": f"How {HALF}?", "answer": "#### 2"}, "question"),
    ],
)
def test_half_a_character_is_refused_with_row_and_field(tmp_path, name, row, field):
    with pytest.raises(InputError, match=rf"row 1: field '{field}' contains half a character \(\\u") as error:
        all_items(name, write(tmp_path, [row]))
    str(error.value).encode()


def test_characters_outside_the_basic_plane_are_whole(tmp_path):
    file = write(tmp_path, [numeric(n, prompt=f"\N{SLIGHTLY SMILING FACE} {n}") for n in range(30)])
    assert len(all_items("file-numeric", file)) == 30


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("file-numeric", "2", "3"), ("file-numeric", "1/2", "0.25"), ("file-choice", "A", "B")],
)
def test_one_question_with_two_keys_is_refused(tmp_path, name, first, second):
    rows = [{"prompt": f"Q{n}", "answer": first} for n in range(30)] + [{"prompt": " q7", "answer": second}]
    with pytest.raises(InputError, match=rf"row 31: repeats the question .*'{second}' instead of '{first}'"):
        all_items(name, write(tmp_path, rows))


def test_one_question_with_two_spellings_of_its_key_is_one_item(tmp_path):
    rows = [{"prompt": f"Q{n}", "answer": "1/2"} for n in range(30)]
    file = write(tmp_path, [*rows, {"prompt": "Q7", "answer": "0.5"}, {"prompt": "Q8", "answer": "1/2"}])
    assert len(all_items("file-numeric", file)) == 30


@pytest.fixture
def hub(monkeypatch):
    """A gsm8k of 3,000 good rows, with these rows among them."""

    def serve(*odd):
        rows = [{"question": f"How many is {n}?", "answer": f"#### {n}"} for n in range(3000)]
        rows[700:700] = odd
        monkeypatch.setattr(
            dataset,
            "fetch",
            lambda source, split, revision, schema: [Row("gsm8k", n, row, schema) for n, row in enumerate(rows, 1)],
        )
        return registry.get("gsm8k")

    return serve


def test_a_few_odd_rows_of_the_hub_are_skipped_and_counted(hub):
    task = hub({"question": "", "answer": "#### 3"}, {"question": f"{HALF}", "answer": "#### 3"}, {"question": "Q"})
    assert len(task.items("test", None, 0)) == 3000
    assert task.skipped_rows == {"unreadable": 3}


def test_more_than_one_in_a_thousand_is_another_layout(hub):
    with pytest.raises(InputError, match=r"gsm8k: 4 of 3004 rows cannot be used, more than 0\.1%.*row 701"):
        hub(*[{"question": "Q"}] * 4).items("test", None, 0)


def test_a_question_of_the_hub_with_two_keys_is_left_out_and_counted(hub):
    task = hub({"question": "How many is 5?", "answer": "#### 5"}, {"question": "How many is 6?", "answer": "#### 7"})
    prompts = [item.prompt for item in task.items("test", None, 0)]
    assert len(prompts) == 2999
    assert not any("How many is 6?" in prompt for prompt in prompts)
    assert task.skipped_rows == {"two keys": 1}
    with pytest.raises(InputError, match=r"31 of 3031 rows cannot be used, more than 1\.0%"):
        hub(*[{"question": f"How many is {n}?", "answer": "#### 9999"} for n in range(31)]).items("test", None, 0)


def test_stages_record_skipped_rows(hub):
    hub({"question": "", "answer": "#### 3"})
    stage_data = (TaskData(task="gsm8k", split="test", n=10, seed=0, revision="unpinned"),)
    tasks, items = stage_inputs.read_tasks(stage_data)
    assert len(items) == 10
    assert stage_inputs.skipped_rows(tasks) == {"skipped_rows": {"gsm8k": {"unreadable": 1}}}
