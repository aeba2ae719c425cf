"""Chunks of rows, each computed once into a file of its own: a killed stage resumes, and several processes share it."""

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
    """Yield the file of each chunk in order, once it is complete; files that are there and undamaged are not computed again.

    Args:
        chunks: the same in every run. A file has the name of its chunk's range, so that chunks cut otherwise are not its.
        compute: returns a chunk's rows, which have the columns of `schema`.
        folder: of the files; made if it does not exist.
        share: (index, count): only every count-th chunk is computed; others are yielded if they are there.
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
            del rows  # before the next chunk is computed
        yield file


def _is_intact(file: Path, schema: pa.Schema) -> bool:
    """Return True if the file has rows with the schema's columns, and every page fits its checksum."""
    try:
        return file.exists() and sum(map(len, batches(file, schema.names))) > 0
    except InputError:
        return False
