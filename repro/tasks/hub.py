"""Rows from the hub, through `datasets`, which is imported only when rows are fetched."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from repro.errors import InputError
from repro.system.hub_access import refusal_behind
from repro.system.hub_lock import UNPINNED
from repro.tasks.rows import Row

_OWN_ROWS = "A command on one model (repro evaluate and its like) takes rows of yours instead: --data FILE."


@dataclass(frozen=True)
class HubSource:
    """Location of a data set.

    Attributes:
        id: the data set on the hub; the repository of a data set that is a file in a Git repository.
        train, test: the splits that hold training and evaluation rows. If both are the same split, its rows are divided
            by content. Without a training split the data set is for evaluation only.
        url: address of the file, with {revision}, for a data set that is not on the hub.
    """

    id: str
    train: str | None
    test: str
    config: str | None = None
    url: str | None = None


def fetch(source: HubSource, split: str, revision: str, schema: str) -> list[Row]:
    """Return all rows of one split at a revision ("unpinned" takes the newest).

    Raises:
        InputError: the rows are neither reachable nor in the local cache.
    """
    try:
        pinned = None if revision == UNPINNED else revision
        rows = _fetch_lines(source.url, pinned) if source.url else _fetch_from_hub(source, split, pinned)
    # No network, offline mode, no such revision: each client library has other classes for them.
    except Exception as cause:
        refusal = refusal_behind(cause, source.id, "datasets") if source.url is None else None
        if refusal:
            raise InputError(f"data set {source.id}: {refusal}. {_OWN_ROWS}") from None
        reason = " ".join(str(cause).split())[:160]
        raise InputError(
            f"data set {source.id} ({source.config or split}): neither reachable nor in the local cache"
            f" ({type(cause).__name__}: {reason}). Connect to the hub, or copy the cache of a"
            f" machine that is (HF_HOME). {_OWN_ROWS} Expected in a row: {schema}."
        ) from None
    location = f"{source.id} ({split})"
    return [Row(location, number, row, schema) for number, row in enumerate(rows, start=1)]


def _fetch_from_hub(source: HubSource, split: str, revision: str | None) -> list[dict[str, Any]]:
    from datasets import load_dataset

    return [dict(row) for row in load_dataset(source.id, source.config, split=split, revision=revision)]


def _fetch_lines(url: str, revision: str | None) -> list[dict[str, Any]]:
    """Return the rows of a small file of JSON lines, without `datasets`, which needs more packages to read a URL."""
    with urllib.request.urlopen(url.format(revision=revision or "main"), timeout=30) as response:
        return [json.loads(line) for line in response if line.strip()]
