"""Rows of the user's file: JSON lines or Parquet with prompt, answer and an optional id.

The task's name gives the kind: `file-numeric`, `file-choice`, `file-open`. The instruction of the kind is added to the
prompt, as for every task, because grading reads the form that it asks for; the user's own takes its place (`--instruction`).
"""

import hashlib
import math
from decimal import Decimal
from pathlib import Path

from repro.errors import InputError
from repro.system.input_errors import did_you_mean_path
from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.extraction import LETTERS
from repro.tasks.numerals import DOUBLE_DIGITS, MAX_LENGTH
from repro.tasks.prompts import add_instruction
from repro.tasks.rows import Row
from repro.tasks.task import Kind

KINDS: dict[str, Kind] = {"file-numeric": "numeric", "file-choice": "choice", "file-open": "open"}


class OwnFile(DataSetTask):
    """Rows: prompt, answer (a number, an expression or a letter; not read for file-open), id (optional)."""

    schema = "prompt, answer (not for file-open), id (optional)"
    instruction: str | None = None
    """What follows each question; None for the instruction of the kind."""

    def __init__(self, name: str, data: Path | None = None, revision: str | None = None) -> None:
        self.kind = KINDS[name]
        super().__init__(name, data, revision)

    def prompt(self, question: str) -> str:
        return add_instruction(self.kind, question, self.instruction)

    def read(self, row: Row) -> Question:
        """Return prompt and key. A verifiable row without an answer is refused: it would count as never solved."""
        row_id = None if row.fields.get(self.id_field) is None else row.identifier(self.id_field)
        prompt = row.text("prompt")
        if self.kind == "open":
            return Question(prompt, None, row_id)
        if self.kind == "choice":
            return Question(prompt, row.letter("answer", len(LETTERS)), row_id)
        key = numeric_key(row, "answer")
        if "\n" in key or "####" in key:
            raise row.fault(
                "answer", "has several lines or ####, so no boxed answer can match it. Give the final answer only"
            )
        return Question(prompt, key, row_id)


def numeric_key(row: Row, field: str) -> str:
    """Return a number or an expression as a key: a floating-point number without exponent, rounded to what a double holds.

    Raises:
        InputError: NaN, an infinity, or what is neither text nor a number.
    """
    answer = row.value(field)
    if isinstance(answer, str) and answer.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise row.fault(field, f"is {answer!r}, which no answer can match")
    if not isinstance(answer, float | Decimal):
        return row.identifier(field)
    if not math.isfinite(answer):
        raise row.fault(field, f"is {answer}, which no answer can match")
    text = str(answer)
    if isinstance(answer, float) and not answer.is_integer() and len(Decimal(text).as_tuple().digits) > DOUBLE_DIGITS:
        text = f"{answer:.{DOUBLE_DIGITS}g}"
    plain = f"{Decimal(text):f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return ("0" if plain == "-0" else plain) if len(plain) <= MAX_LENGTH else text


def hash_data_file(file: Path) -> str:
    """Return the sha256 of a file of rows.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        near = did_you_mean_path(file, is_folder=False)
        raise InputError(f"data {file}: {error.strerror}. {near}Give a file of rows with --data.") from None
