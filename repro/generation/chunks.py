"""Chunks of rows, each computed once into its own file: killed stages resume, and processes can share a stage."""

from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from repro.errors import InputError
from repro.generation.rollouts import RowGroupWriter, batches
from repro.system.atomic_write import atomic_write

Chunk = TypeVar("Chunk", bound=Sized)


def compute_chunks(
    chunks: Iterable[Chunk],
    compute: Callable[[Chunk], pa.Table],
    schema: pa.Schema,
    folder: Path,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Path]:
    """Yield each chunk's file in order, once it is complete; existing undamaged files are not recomputed.

    Args:
        chunks: the same in every run. Files are named by the range of rows they hold, so a different chunking never
            picks up the wrong file.
        compute: returns a chunk's rows, with the columns of `schema`.
        folder: folder for the files; created if missing.
        share: (index, count): only every count-th chunk is computed; others are yielded if they exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = 0
    for number, chunk in enumerate(chunks):
        start, end = end, end + len(chunk)
        file = folder / f"chunk-{start:06d}-{end:06d}.parquet"
        if not _is_intact(file, schema):
            if number % share[1] != share[0]:
                continue
            rows = compute(chunk)
            with atomic_write(file) as temporary, RowGroupWriter(temporary, schema) as writer:
                writer.write(rows)
            del rows  # frees memory before the next chunk is computed
        yield file


def _is_intact(file: Path, schema: pa.Schema) -> bool:
    """Return True if the file has rows with the schema's columns and every page matches its checksum."""
    try:
        return file.exists() and sum(map(len, batches(file, schema.names))) > 0
    except InputError:
        return False
