"""Rows of the user's file: JSON lines or Parquet with prompt, answer and an optional id.

The task's name gives the kind: `file-numeric`, `file-choice`, `file-open`. The instruction of the kind is added to the
prompt, as for every task, because grading reads the form that it asks for.
"""

import hashlib
from pathlib import Path

from repro.errors import InputError
from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.extraction import LETTERS
from repro.tasks.rows import Row
from repro.tasks.task import Kind

KINDS: dict[str, Kind] = {"file-numeric": "numeric", "file-choice": "choice", "file-open": "open"}


class OwnFile(DataSetTask):
    """Rows: prompt, answer (a number, an expression or a letter; not read for file-open), id (optional)."""

    schema = "prompt, answer (not for file-open), id (optional)"

    def __init__(self, name: str, data: Path | None = None, revision: str | None = None) -> None:
        self.kind = KINDS[name]
        super().__init__(name, data, revision)

    def read(self, row: Row) -> Question:
        """Return prompt and key. A verifiable row without an answer is refused: it would count as never solved."""
        row_id = None if row.fields.get(self.id_field) is None else row.identifier(self.id_field)
        prompt = row.text("prompt")
        if self.kind == "open":
            return Question(prompt, None, row_id)
        if self.kind == "choice":
            return Question(prompt, row.letter("answer", len(LETTERS)), row_id)
        answer = row.value("answer")
        return Question(prompt, repr(answer) if isinstance(answer, float) else row.identifier("answer"), row_id)


def hash_data_file(file: Path) -> str:
    """Return the sha256 of a file of rows.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"data {file}: {error.strerror}. Give a file of rows with --data.") from None
