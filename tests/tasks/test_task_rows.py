"""Bad input: one line that names the file, the row, the field and the fix; no other error escapes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tasks.schema_rows import CSQA_HUB, ROWS, Write

from repro.errors import InputError
from repro.tasks import registry

Damage = Callable[[dict[str, Any]], object]


def error_of(name: str, data: Path) -> str:
    with pytest.raises(InputError) as caught:
        registry.get(name, data=data).items("test", None, 0)
    message = str(caught.value)
    assert "\n" not in message
    return message


def with_field(path: str, value: object) -> Damage:
    def damage(row: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for key in outer:
            row = row[key]
        row[last] = value

    return damage


def without(field: str) -> Damage:
    return lambda row: row.pop(field)


DAMAGES: list[tuple[str, Damage, str, str]] = [
    (
        "gsm8k",
        without("question"),
        "question",
        "is missing. The row has answer (choose one of them with --field question=NAME",
    ),
    ("gsm8k", with_field("question", None), "question", "is null"),
    ("gsm8k", with_field("question", "  "), "question", "is empty"),
    ("gsm8k", with_field("question", 3), "question", "is int, not text"),
    ("gsm8k", with_field("answer", "It is 12."), "answer", "has no '#### number' line"),
    ("bigmath-4", without("prompt"), "prompt", "is missing"),
    ("bigmath-4", with_field("solution", ""), "solution", "is empty"),
    ("bigmath-4", with_field("solution", "$$"), "solution", "is empty"),
    ("csqa", without("question"), "question", "is missing"),
    ("csqa", with_field("question.stem", ""), "question.stem", "is empty"),
    (
        "csqa",
        with_field("question.choices", "A B"),
        "question.choices",
        "is not a list of objects",
    ),
    (
        "csqa",
        with_field("question.choices", [{"label": "A"}]),
        "question.choices.text",
        "is missing",
    ),
    ("csqa", with_field("answerKey", "F"), "answerKey", "not one of the letters ABCDE"),
    ("csqa", with_field("answerKey", ""), "answerKey", "take the validation rows"),
    ("csqa", with_field("id", ["x"]), "id", "is not a text or an integer"),
    ("mmlu-pro", with_field("options", "A, B"), "options", "is not a list of texts"),
    ("mmlu-pro", with_field("options", []), "options", "is not a list of texts"),
    ("mmlu-pro", with_field("options", list("abcdefghijk")), "options", "more than ten"),
    ("mmlu-pro", with_field("answer", "J"), "answer", "is 'J', not one of the letters"),
    ("mmlu-pro", with_field("answer_index", 1), "answer_index", "is 1, but answer is A"),
    ("mmlu-pro", with_field("question_id", 900), "question_id", "repeats '900'"),
    ("supergpqa", without("uuid"), "uuid", "is missing"),
    ("supergpqa", with_field("answer_letter", "AB"), "answer_letter", "is 'AB'"),
    ("dolly", without("instruction"), "instruction", "is missing"),
    ("dolly", with_field("context", 4), "context", "is int, not text"),
    ("vicuna", with_field("turns", []), "turns", "is not a list of texts"),
    ("vicuna", with_field("turns", [" "]), "turns", "starts with an empty text"),
    ("file-numeric", without("answer"), "answer", "is missing"),
    ("file-numeric", with_field("answer", True), "answer", "is not a text or an integer"),
    ("file-choice", with_field("answer", "yes"), "answer", "is 'yes', not one of the letters"),
    ("file-open", without("prompt"), "prompt", "is missing"),
]


@pytest.mark.parametrize(("name", "damage", "field", "problem"), DAMAGES)
def test_a_bad_field_is_named(name: str, damage: Damage, field: str, problem: str, write: Write) -> None:
    rows = json.loads(json.dumps(ROWS[name]))
    damage(rows[6])
    path = write(rows)
    message = error_of(name, path)
    assert message.startswith(f"{path}, row 7: field '{field}' ")
    assert problem in message
    assert "Expected: " in message


def test_labels_out_of_order_are_refused(write: Write) -> None:
    rows = json.loads(json.dumps(CSQA_HUB))
    rows[0]["choices"]["label"] = list("BACDE")
    assert "field 'choices' has the labels ['B', 'A'" in error_of("csqa", write(rows, "hub.jsonl"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no rows"),
        ("\n\n", "no rows"),
        ('{"question": "x", "answer": "#### 1"}\n{"question": ', "row 2: not JSON"),
        ("\n[1, 2]\n", "row 2: a JSON list, not an object"),
        ("question,answer\nx,1\n", "row 1: not JSON"),
        (
            '{"question": "x", "answer": "#### 1", "answer": "#### 2"}',
            "row 1: not JSON (the field 'answer' occurs twice)",
        ),
        ('{"question": "\\u200b \\ufeff", "answer": "#### 1"}', "row 1: field 'question' is empty"),
        ("[" * 100000, "row 1: not JSON"),
    ],
)
def test_a_malformed_file_is_named(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    message = error_of("gsm8k", path)
    assert message.startswith(str(path))
    assert problem in message


def test_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    binary = tmp_path / "rows.jsonl"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    assert "not UTF-8 text" in error_of("gsm8k", binary)
    parquet = tmp_path / "rows.parquet"
    parquet.write_bytes(b"PAR1 but no more")
    assert "not a Parquet file" in error_of("gsm8k", parquet)
    unknown = tmp_path / "rows.csv"
    unknown.write_text("question,answer\n")
    assert "unknown format '.csv'" in error_of("gsm8k", unknown)
    assert "no such data file" in error_of("gsm8k", tmp_path / "missing.jsonl")
    assert "neither train* nor test* files" in error_of("gsm8k", tmp_path)


def test_one_row_cannot_be_two_splits(write: Write) -> None:
    task = registry.get("gsm8k", data=write(ROWS["gsm8k"][:1]))
    empty = []
    for split in ("train", "test"):
        try:
            task.items(split, None, 0)  # type: ignore[arg-type]
        except InputError as cause:
            empty.append(str(cause))
    assert len(empty) == 1
    assert "no row is left" in empty[0]
    assert "--split all" in empty[0]


def test_asking_for_no_items(write: Write) -> None:
    with pytest.raises(InputError, match="0 items requested"):
        registry.get("gsm8k", data=write(ROWS["gsm8k"])).items("test", 0, 0)
