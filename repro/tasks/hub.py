"""Rows from the hub, through `datasets`, which is imported only when rows are fetched."""

import functools
import json
import logging
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from repro.errors import InputError
from repro.system.hub_access import TIMEOUT_S, is_offline, refusal_behind
from repro.system.hub_lock import UNPINNED
from repro.tasks.kept_rows import Fields, KeptRows
from repro.tasks.rows import Row

COMMIT = re.compile(r"[0-9a-f]{40}")
BRANCH = "main"
_log = logging.getLogger(__name__)
_OWN_ROWS = "Commands on one model (such as repro evaluate) can read your own rows instead: --data FILE."


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
        rows = _fetch(source, split, None if revision == UNPINNED else revision)
    # No network, offline mode, no such revision: each client library uses different exception classes.
    except Exception as cause:
        refusal = refusal_behind(cause, source.id, "datasets") if source.url is None else None
        if refusal:
            raise InputError(f"data set {source.id}: {refusal}. {_OWN_ROWS}") from None
        reason = " ".join(str(cause).split())[:160]
        raise InputError(
            f"data set {source.id} ({source.config or split}): not reachable, and not in the local cache"
            f" ({type(cause).__name__}: {reason}). Connect to the hub, or copy the cache of a"
            f" machine that is (HF_HOME). {_OWN_ROWS} Expected in a row: {schema}."
        ) from None
    location = f"{source.id} ({split})"
    return [Row(location, number, row, schema) for number, row in enumerate(rows, start=1)]


def _fetch(source: HubSource, split: str, pinned: str | None) -> list[Fields]:
    """Return rows from local disk if their commit was fetched before, else fetch and store them."""
    kept = KeptRows(source.id, source.url, source.config, split)
    if source.url and not pinned:
        return _fetch_newest_file(source.id, source.url, kept)
    commit = pinned or (None if is_offline() else _newest_commit(source.id))
    if commit is None:
        last = kept.read_newest()
        return _older(source.id, *last) if last else _load(source, split, None)
    rows = kept.read(commit)
    if rows is None:
        rows = _read_lines(source.url, commit) if source.url else _load(source, split, commit)
        if COMMIT.fullmatch(commit):
            kept.keep(commit, rows)
    return rows


def _fetch_newest_file(hub_id: str, url: str, kept: KeptRows) -> list[Fields]:
    """Return the rows of a file's latest version or, if unreachable, the last one fetched."""
    earlier = kept.read(BRANCH)
    if earlier is not None and is_offline():
        return _older(hub_id, BRANCH, earlier)
    try:
        rows = _read_lines(url, BRANCH)
    except OSError:
        if earlier is None:
            raise
        return _older(hub_id, BRANCH, earlier)
    kept.keep(BRANCH, rows)
    return rows


def _newest_commit(hub_id: str) -> str | None:
    """Return the newest commit of a data set; None if the hub does not answer."""
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(hub_id, timeout=TIMEOUT_S).sha
    except Exception:  # `datasets` gives the better error
        return None


def _load(source: HubSource, split: str, commit: str | None) -> list[Fields]:
    """Read a data set with `datasets`.

    Raises:
        Exception: of the client library, if it cannot be read; with a commit also if the hub does not answer, since
            `datasets` would then take what it has of another commit.
    """
    from datasets import load_dataset

    if commit and COMMIT.fullmatch(commit):
        from huggingface_hub import HfApi

        HfApi().dataset_info(source.id, revision=commit, timeout=TIMEOUT_S)
    rows = load_dataset(source.id, source.config, split=split, revision=commit)
    read = {name for file in getattr(rows, "cache_files", ()) for name in Path(file["filename"]).parts}
    others = {name for name in read if COMMIT.fullmatch(name)} - {commit}
    if commit and others:
        raise ConnectionError(f"asked for commit {commit}, got {', '.join(others)}")
    return [dict(row) for row in rows]


def _read_lines(url: str, revision: str) -> list[Fields]:
    """Return the rows of a small file of JSON lines, without `datasets`, which needs more packages to read a URL."""
    with urllib.request.urlopen(url.format(revision=revision), timeout=30) as response:
        return [json.loads(line) for line in response if line.strip()]


def _older(hub_id: str, commit: str, rows: list[Fields]) -> list[Fields]:
    """Return the rows, with a warning that they may not be the newest."""
    _warn_older(hub_id, commit)
    return rows


@functools.cache
def _warn_older(hub_id: str, commit: str) -> None:
    """Warn once per process: a run reads the rows of a task several times before its first stage."""
    _log.warning(
        f"data set {hub_id}: not reachable, so the cached rows are used (revision {commit[:12]}); they may not be the newest"
    )
