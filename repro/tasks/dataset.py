"""Base class of all data sets: row source, ids, splits and order. A subclass parses a row.

Rows come from one of three sources:
- the hub, at a pinned revision;
- one file (`--data rows.jsonl`): its rows are divided into train and test by content, nine to one, whatever its name
  (`train.jsonl` promises nothing). For an evaluation-only data set all are test rows;
- a folder (`--data folder`): its `train*` and `test*` (or `validation*`, `dev*`) files are the two splits. If it has only
  one of the two, the rows are divided by content, like those of a single file.

Rows with a text in the test split are never training rows, and repeated texts count as one row. Malformed rows, of
which large hub data sets have a few, are skipped and counted (`odd_rows`); in a user's file each is an error.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from repro.errors import InputError
from repro.system.hub_lock import UNPINNED
from repro.tasks.hub import HubSource, fetch
from repro.tasks.odd_rows import OddRows, TwoKeysError, is_same_key
from repro.tasks.prompts import add_instruction
from repro.tasks.rows import SUFFIXES, Row, read_rows
from repro.tasks.splits import content_hash, seeded_order, select_split
from repro.tasks.task import Item, Kind, Split


@dataclass(frozen=True)
class Question:
    """A row as a data set reads it: text before the instruction, key, and the row's id, if any."""

    text: str
    key: str | None
    id: str | None = None


class DataSetTask(ABC):
    """A data set as a task (see `repro.tasks.task.Task`).

    Attributes:
        revision: version of the rows: a commit on the hub, "unpinned", or the hash of the user's files.
        schema: description of a row, for error messages.
        hub: source on the hub; None for a task that only reads the user's files.
        id_field: the field that holds a row's id.
        fields: field of the task -> field of the file that holds it, where they differ.
        options: maximum number of options per question; None if not a choice task, or up to the whole alphabet.
    """

    kind: Kind
    options: ClassVar[int | None] = None
    schema: ClassVar[str]
    hub: HubSource | None = None
    id_field: ClassVar[str] = "id"
    fields: Mapping[str, str] = MappingProxyType({})

    def __init__(self, name: str, data: Path | None = None, revision: str | None = None) -> None:
        self.name = name
        self._data = data
        self._items: dict[Split, dict[str, Item]] = {}
        self._odd_rows: dict[Split, OddRows] = {}
        if data is None and self.hub is None:
            raise InputError(f"task {name}: no rows. Pass them with --data FILE. Expected in a row: {self.schema}.")
        self.revision = (revision or UNPINNED) if data is None else _hash_files(data, self.schema)

    @abstractmethod
    def read(self, row: Row) -> Question:
        """Return the question of a row, or raise the row's error."""

    def prompt(self, question: str) -> str:
        """Return the user message of a question."""
        return add_instruction(self.kind, question)

    def items(self, split: Split, n: int | None, seed: int) -> list[Item]:
        """Return the first n items of the split in the order of the seed, or all if there are fewer.

        Raises:
            InputError: the rows cannot be fetched or read, or the split is empty.
        """
        if n is not None and n < 1:
            raise InputError(f"task {self.name}: {n} items requested. Request at least one.")
        items = self._split(split)
        if not items:
            raise InputError(
                f"task {self.name}: no row is left for the {split} split of {self._source}. Pass more rows,"
                " take every row (--split all), or pass a folder with train.jsonl and test.jsonl."
            )
        return [items[position] for position in seeded_order([item.id for item in items], seed)[:n]]

    def _split(self, split: Split) -> list[Item]:
        if split == "all":
            both = self._items_by_content("test")
            return list((both if self._has_single_set else self._items_by_content("train") | both).values())
        if self.hub is not None and self.hub.train is None:
            if split == "train":
                raise InputError(
                    f"task {self.name} has no training rows, it is for evaluation only: train on another task."
                )
            return list(self._items_by_content("test").values())
        if self.is_divided:
            items = self._items_by_content("test")
            return [items[content] for content in select_split(list(items), split)]
        if split == "test":
            return list(self._items_by_content("test").values())
        held_out = self._items_by_content("test")
        return [item for content, item in self._items_by_content("train").items() if content not in held_out]

    @property
    def _has_single_set(self) -> bool:
        """True if there is a single set of rows, divided or for evaluation only."""
        return self.is_divided or (self.hub is not None and self.hub.train is None)

    @property
    def is_divided(self) -> bool:
        """True if both splits come from one set of rows, divided by content."""
        if self._data is None:
            return self.hub is not None and self.hub.train == self.hub.test
        return not self._data.is_dir() or not (self._files("train") and self._files("test"))

    def _items_by_content(self, split: Split) -> dict[str, Item]:
        """Return content hash -> item for one set of rows, in order; of equal texts only the first."""
        if split in self._items:
            return self._items[split]
        items: dict[str, Item] = {}
        identities: set[str] = set()
        contradicted: set[str] = set()
        rows = self._rows(split)
        odd = self._odd_rows[split] = OddRows(self._source, len(rows), may_skip=self._data is None)
        for row in rows:
            try:
                question = self.read(row.renamed(self.fields))
                content = content_hash(question.text)
                if content in items:
                    if not is_same_key(self.kind, items[content].key, question.key):
                        raise TwoKeysError(row, items[content].key, question.key)
                    continue
                identity = f"{self.name}-{question.id or content[:16]}"
                if identity in identities:
                    raise row.fault(self.id_field, f"repeats {question.id!r} of an earlier row with another question")
            except InputError as error:
                odd.add(error)
                if isinstance(error, TwoKeysError):
                    contradicted.add(content)
                continue
            identities.add(identity)
            items[content] = Item(identity, self.name, self.prompt(question.text), question.key)
        odd.check()
        self._items[split] = {content: item for content, item in items.items() if content not in contradicted}
        return self._items[split]

    @property
    def skipped_rows(self) -> dict[str, int]:
        """The hub rows skipped so far, by reason."""
        counts = [odd.counts for odd in self._odd_rows.values()]
        return {reason: sum(c[reason] for c in counts) for reason in sorted(set().union(*counts))}

    def _rows(self, split: Split) -> list[Row]:
        if self._data is None:
            assert self.hub is not None
            name = self.hub.test if split == "test" else self.hub.train
            assert name is not None
            return fetch(self.hub, name, self.revision, self.schema)
        if not self._data.is_dir():
            return read_rows(self._data, self.schema)
        files = self._files(split) or self._files("train")
        if not files:
            raise InputError(f"{self._data}: neither train* nor test* files in it. Expected in a row: {self.schema}.")
        return [row for file in files for row in read_rows(file, self.schema)]

    def _files(self, split: Split) -> list[Path]:
        """Return a split's files in a folder. The hub's name takes precedence: csqa has both validation and test."""
        assert self._data is not None
        hub_name = [self.hub.test] if self.hub is not None and self.hub.test != "train" else []
        for name in ["train"] if split == "train" else [*hub_name, "test", "validation", "dev"]:
            if files := sorted(file for file in self._data.glob(f"{name}*") if file.suffix in SUFFIXES):
                return files
        return []

    @property
    def _source(self) -> str:
        return str(self._data) if self.hub is None or self._data is not None else self.hub.id


def _hash_files(data: Path, schema: str) -> str:
    """Return the content hash of a file, or of all row files of a folder with their names."""
    files = sorted(file for file in data.iterdir() if file.suffix in SUFFIXES) if data.is_dir() else [data]
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no such data file. Give JSON lines or Parquet. Expected in a row: {schema}.")
        digest.update(f"{file.name}\0".encode() if data.is_dir() else b"")
        try:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as cause:
            raise InputError(f"{file}: cannot be read ({cause.strerror}). Check its permissions.") from None
    return f"sha256:{digest.hexdigest()}"
