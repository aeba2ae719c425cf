"""Rows of a file, JSON lines or Parquet. Errors name the file, the row, the field and the fix."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.system.input_errors import did_you_mean, did_you_mean_path

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")


@dataclass(frozen=True)
class Row:
    """One row and its location.

    Attributes:
        source: the file, or the data set on the hub.
        number: from 1; the line in a JSON lines file.
        schema: the expected form of a row, for error messages.
        within: path of the object inside the row, for error messages; ends with a dot.
    """

    source: str
    number: int
    fields: Mapping[str, Any] = field(repr=False)
    schema: str
    within: str = ""
    names: tuple[str, ...] = ()
    """Fields as the file names them, where `fields` has them under the task's names too."""

    def renamed(self, fields: Mapping[str, str]) -> "Row":
        """Return the row with its fields under the task's names.

        Args:
            fields: the task's name -> the name in the file.
        """
        missing = [theirs for theirs in fields.values() if theirs not in self.fields]
        if missing:
            raise self.fault(
                missing[0],
                f"is missing, but --field names it. {did_you_mean(missing[0], self._listed())}{self._fields()}",
            )
        return (
            replace(
                self,
                fields={**self.fields, **{ours: self.fields[theirs] for ours, theirs in fields.items()}},
                names=tuple(self.fields),
            )
            if fields
            else self
        )

    def fault(self, name: str, problem: str) -> InputError:
        """Return the error for a field of this row."""
        field_name = f"{self.source}, row {self.number}: field '{self.within}{name}'"
        return InputError(f"{field_name} {problem}. Expected: {self.schema}.")

    def _fields(self) -> str:
        return f"The row has {', '.join(self._listed())}"

    def _listed(self) -> tuple[str, ...]:
        return self.names or tuple(self.fields)

    def value(self, name: str) -> Any:
        """Return the field as it is; raise if it is missing or null."""
        if name not in self.fields:
            near = did_you_mean(name, self._listed())
            advice = "" if self.within else f". {near}{self._fields()} (choose one of them with --field {name}=NAME)"
            raise self.fault(name, f"is missing{advice}")
        if self.fields[name] is None:
            raise self.fault(name, "is null")
        return self.fields[name]

    def text(self, name: str) -> str:
        """Return a text that is not blank."""
        value = self.value(name)
        if not isinstance(value, str):
            raise self.fault(name, f"is {type(value).__name__}, not text")
        if not _is_visible(value):
            raise self.fault(name, "is empty")
        return self._encodable(name, value).strip()

    def optional_text(self, name: str) -> str:
        """Return a text that may be missing, null or blank: then it is empty."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            raise self.fault(name, f"is {type(value).__name__}, not text")
        return self._encodable(name, value or "").strip()

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, which is not empty. Single texts may be blank: some options are."""
        value = self.value(name)
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise self.fault(name, "is not a list of texts")
        return [self._encodable(name, text).strip() for text in value]

    def identifier(self, name: str) -> str:
        """Return a text or an integer that names the row."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, str | int) or not _is_visible(str(value)):
            raise self.fault(name, "is not a text or an integer")
        return self._encodable(name, str(value)).strip()

    def _encodable(self, name: str, text: str) -> str:
        """Return the text if it can be encoded: JSON can hold half a character, no tokenizer reads one."""
        try:
            text.encode()
        except UnicodeEncodeError as cause:
            half = f"\\u{ord(text[cause.start]):04x}"
            raise self.fault(
                name, f"contains half a character ({half}): the text was probably cut inside an emoji"
            ) from None
        return text

    def letter(self, name: str, options: int) -> str:
        """Return the letter of one of that many options."""
        value = self.text(name)
        letters = "ABCDEFGHIJ"[:options]
        if len(value) != 1 or value not in letters:
            raise self.fault(name, f"is {value!r}, not one of the letters {letters} of its {options} options")
        return value

    def inner(self, name: str) -> "Row":
        """Return an object inside this row, with the same location in errors."""
        value = self.value(name)
        if not isinstance(value, Mapping):
            raise self.fault(name, f"is {type(value).__name__}, not an object")
        return Row(self.source, self.number, value, self.schema, f"{self.within}{name}.")


def _is_visible(text: str) -> bool:
    """Return True if a text has more than blanks and characters without width (a byte order mark, U+200B)."""
    return any(not (character.isspace() or unicodedata.category(character) in ("Cf", "Cc")) for character in text)


def read_rows(path: Path, schema: str) -> list[Row]:
    """Return all rows of a file.

    Raises:
        InputError: no such file, an unknown format, a broken line, or no row at all.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such data file. {did_you_mean_path(path, is_folder=False)}Give JSON lines or Parquet. Expected in a row: {schema}."
        )
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown format {path.suffix!r}. Give JSON lines (.jsonl) or Parquet (.parquet).")
    try:
        rows = _read_parquet(path, schema) if path.suffix == ".parquet" else _read_json_lines(path, schema)
    except OSError as cause:
        raise InputError(f"{path}: cannot be read ({cause.strerror or cause}). Check its permissions.") from None
    if not rows:
        raise InputError(f"{path}: no rows. Give at least one. Expected in a row: {schema}.")
    return rows


def _read_json_lines(path: Path, schema: str) -> list[Row]:
    rows = []
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    rows.append(Row(str(path), number, _parse_json_object(path, number, line, schema), schema))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text. Give JSON lines (.jsonl) or Parquet (.parquet).") from None
    return rows


def _parse_json_object(path: Path, number: int, line: str, schema: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as cause:
        problem = cause.msg if isinstance(cause, json.JSONDecodeError) else str(cause)
        raise InputError(
            f"{path}, row {number}: not JSON ({problem}). Write one JSON object per line. Expected: {schema}."
        ) from None
    if not isinstance(value, dict):
        raise InputError(
            f"{path}, row {number}: a JSON {type(value).__name__}, not an object. Write one object per line."
            f" Expected: {schema}."
        )
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; json would take the last of two values without a word."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return fields


def _read_parquet(path: Path, schema: str) -> list[Row]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        for number, field in enumerate(table.schema):
            if pa.types.is_float32(field.type):  # 0.1, not the double 0.10000000149011612
                shortest = pc.cast(pc.cast(table.column(number), pa.string()), pa.float64())
                table = table.set_column(number, field.name, shortest)
    except pa.ArrowException as cause:
        reason = " ".join(str(cause).split()).partition(". ")[0]
        raise InputError(f"{path}: not a Parquet file ({reason}). Give JSON lines (.jsonl) or Parquet.") from None
    return [Row(str(path), number, row, schema) for number, row in enumerate(table.to_pylist(), start=1)]
