"""What all data sets share: where rows come from, identities, splits, order. A data set adds how a row reads.

Rows come from one of three places:
- the hub, at a pinned revision;
- one file (`--data rows.jsonl`): its rows are divided into train and test by their content, nine to one,
  whatever the file is called: a name like `train.jsonl` is no promise. For a data set that is for evaluation
  only, all are test rows;
- a folder (`--data folder`): its `train*` and `test*` (or `validation*`, `dev*`) files are the two splits as
  they stand. With only one of the two there, its rows are divided by content, as those of a single file.

In every case a row whose text occurs in the test split is not a training row, and a repeated text is one row.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from repro.errors import InputError
from repro.tasks.hub import UNPINNED, HubSource, fetch
from repro.tasks.prompts import add_instruction
from repro.tasks.rows import SUFFIXES, Row, read_rows
from repro.tasks.splits import content_hash, seeded_order, select_split
from repro.tasks.task import Item, Kind, Split


@dataclass(frozen=True)
class Question:
    """What a data set reads from a row: text before the instruction, key, and the row's own id, if any."""

    text: str
    key: str | None
    id: str | None = None


class DataSetTask(ABC):
    """A data set as a task (see `repro.tasks.task.Task`).

    Attributes:
        revision: what the rows are: a commit of the hub, "unpinned", or the hash of the person's own files.
        schema: what a row looks like, for people.
        hub: where the rows live; None for a task that only has a person's own rows.
        id_field: the field that holds a row's own id.
    """

    kind: Kind
    schema: ClassVar[str]
    hub: HubSource | None = None
    id_field: ClassVar[str] = "id"

    def __init__(self, name: str, data: Path | None = None, revision: str | None = None) -> None:
        self.name = name
        self._data = data
        self._questions: dict[Split, dict[str, Item]] = {}
        if data is None and self.hub is None:
            raise InputError(f"task {name}: no rows. Give them with --data FILE. Expected in a row: {self.schema}.")
        self.revision = (revision or UNPINNED) if data is None else _hash_of(data, self.schema)

    @abstractmethod
    def read(self, row: Row) -> Question:
        """The question of one row, or the row's fault."""

    def items(self, split: Split, n: int | None, seed: int) -> list[Item]:
        """The first n items of the split in the order that the seed gives; all of them where there are fewer.

        Raises:
            InputError: the rows cannot be had or read, or the split is empty.
        """
        if n is not None and n < 1:
            raise InputError(f"task {self.name}: {n} items asked. Ask for at least one.")
        items = self._split(split)
        if not items:
            raise InputError(
                f"task {self.name}: no row is left for the {split} split of {self._where}. Give more rows, or"
                " a folder with train.jsonl and test.jsonl."
            )
        return [items[position] for position in seeded_order([item.id for item in items], seed)[:n]]

    def _split(self, split: Split) -> list[Item]:
        if self.hub is not None and self.hub.train is None:
            if split == "train":
                raise InputError(f"task {self.name} has no training rows, it is for evaluation only: train on another.")
            return list(self._by_content("test").values())
        if self._divided:
            items = self._by_content("test")
            return [items[content] for content in select_split(list(items), split)]
        if split == "test":
            return list(self._by_content("test").values())
        held_out = self._by_content("test")
        return [item for content, item in self._by_content("train").items() if content not in held_out]

    @property
    def _divided(self) -> bool:
        """Whether both splits come from one set of rows."""
        if self._data is None:
            return self.hub is not None and self.hub.train == self.hub.test
        return not self._data.is_dir() or not (self._files("train") and self._files("test"))

    def _by_content(self, split: Split) -> dict[str, Item]:
        """Content hash -> item for one set of rows, in order; the first of equal texts only."""
        if split in self._questions:
            return self._questions[split]
        items: dict[str, Item] = {}
        identities: set[str] = set()
        for row in self._rows(split):
            question = self.read(row)
            content = content_hash(question.text)
            if content in items:
                continue
            identity = f"{self.name}-{question.id or content[:16]}"
            if identity in identities:
                raise row.fault(self.id_field, f"repeats {question.id!r} of an earlier row with another question")
            identities.add(identity)
            items[content] = Item(identity, self.name, add_instruction(self.kind, question.text), question.key)
        self._questions[split] = items
        return items

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
        """Files of a split in a folder. The hub's own name is first: csqa there has validation and test."""
        assert self._data is not None
        own = [self.hub.test] if self.hub is not None and self.hub.test != "train" else []
        for name in ["train"] if split == "train" else [*own, "test", "validation", "dev"]:
            if files := sorted(file for file in self._data.glob(f"{name}*") if file.suffix in SUFFIXES):
                return files
        return []

    @property
    def _where(self) -> str:
        return str(self._data) if self.hub is None or self._data is not None else self.hub.id


def _hash_of(data: Path, schema: str) -> str:
    """Content hash of a file, or of all row files of a folder with their names."""
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
