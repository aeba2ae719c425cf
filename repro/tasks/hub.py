"""Rows from the hub, through `datasets`, which is imported only when they are asked for."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from repro.errors import InputError
from repro.tasks.rows import Row

UNPINNED = "unpinned"


@dataclass(frozen=True)
class HubSource:
    """Where a data set lives.

    Attributes:
        id: the data set on the hub; for a data set that is a file in a Git repository, that repository.
        train, test: the splits that hold training and evaluation rows. The same split twice: its rows are
            divided by content. No training split: the data set is for evaluation only.
        url: address of the file, with {revision}, for a data set that is not on the hub.
    """

    id: str
    train: str | None
    test: str
    config: str | None = None
    url: str | None = None


def fetch(source: HubSource, split: str, revision: str, schema: str) -> list[Row]:
    """All rows of one split at a revision ("unpinned" takes the newest).

    Raises:
        InputError: the rows are neither reachable nor in the local cache.
    """
    try:
        pinned = None if revision == UNPINNED else revision
        rows = _lines(source.url, pinned) if source.url else _hub_rows(source, split, pinned)
    # No network, offline mode, no such revision: each client library has its own classes for them.
    except Exception as cause:
        reason = " ".join(str(cause).split())[:160]
        raise InputError(
            f"data set {source.id} ({source.config or split}): neither reachable nor in the local cache"
            f" ({type(cause).__name__}: {reason}). Connect to the hub, or give the rows with --data FILE."
            f" Expected in a row: {schema}."
        ) from None
    where = f"{source.id} ({split})"
    return [Row(where, number, row, schema) for number, row in enumerate(rows, start=1)]


def _hub_rows(source: HubSource, split: str, revision: str | None) -> list[dict[str, Any]]:
    from datasets import load_dataset

    return [dict(row) for row in load_dataset(source.id, source.config, split=split, revision=revision)]


def _lines(url: str, revision: str | None) -> list[dict[str, Any]]:
    """A small file of JSON lines. Not through `datasets`, which needs further packages to read an address."""
    with urllib.request.urlopen(url.format(revision=revision or "main"), timeout=30) as answer:
        return [json.loads(line) for line in answer if line.strip()]
