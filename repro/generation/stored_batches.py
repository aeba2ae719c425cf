"""Batches whose rows are stored as they are computed: a stage that was killed continues after the last one."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

Batch = TypeVar("Batch")
Row = TypeVar("Row")
"""JSON content."""


def compute_once(batches: Iterable[Batch], compute: Callable[[Batch], list[Row]], stored: Path) -> Iterator[list[Row]]:
    """Yield the rows of each batch, those that are stored without computing them again.

    Args:
        batches: the same in every run.
        stored: file of the rows, a line per batch; of an earlier run what it has.
    """
    earlier = _read_lines(stored)
    stored.parent.mkdir(parents=True, exist_ok=True)
    with stored.open("r+b" if earlier else "wb") as stream:
        stream.truncate(sum(map(len, earlier)))
        stream.seek(0, 2)
        for number, batch in enumerate(batches):
            if number < len(earlier):
                yield json.loads(earlier[number])
                continue
            rows = compute(batch)
            stream.write(json.dumps(rows).encode() + b"\n")
            stream.flush()
            yield rows


def _read_lines(stored: Path) -> list[bytes]:
    """Return the complete lines, up to the first that a kill or a full disk has cut short."""
    lines: list[bytes] = []
    for line in stored.read_bytes().splitlines(keepends=True) if stored.exists() else ():
        try:
            json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        lines.append(line)
    return lines
