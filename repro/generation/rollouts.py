"""Rollout files: one Parquet row per completion, in the same format for every engine."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from repro.errors import InputError

Stop = Literal["eos", "length"]

SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("task", pa.string()),
        ("prompt", pa.string()),
        ("sample", pa.int32()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("token_ids", pa.list_(pa.int32())),
        ("log_probs", pa.list_(pa.float32())),
        ("text", pa.string()),
        ("stop", pa.string()),
    ]
)

ROW_GROUP_BYTES = 64 * 2**20
"""In-memory size of a row group: what a writer buffers and a reader loads at a time."""
BATCH_ROWS = 128
"""Rows held as Python objects at the same time while reading: 77 MB with 8,192 tokens each."""


@dataclass(frozen=True)
class Rollout:
    """A completion of a prompt.

    Attributes:
        prompt: the user message before the chat template; prompt_ids: the tokens that the model saw.
        token_ids: sampled tokens, including the end-of-sequence token if it was sampled.
        log_probs: log p(token | prefix) under the sampling model at the sampling temperature, nats.
        text: token_ids decoded without special tokens.
        stop: "eos" if the model ended the completion, "length" if it was truncated at the cap.
    """

    item_id: str
    task: str
    prompt: str
    sample: int
    prompt_ids: list[int]
    token_ids: list[int]
    log_probs: list[float]
    text: str
    stop: Stop


class RowGroupWriter:
    """Writes a Parquet file row group by row group, holding at most one in memory however many rows there are.

    A file below `ROW_GROUP_BYTES` is byte-identical to one written at once.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
        self._buffer: list[pa.Table] = []
        self._bytes = 0

    def write(self, table: pa.Table) -> None:
        """Add rows with the schema's columns."""
        self._buffer.append(table.cast(self._schema))
        self._bytes += table.nbytes
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        rows = pa.concat_tables(self._buffer).combine_chunks()
        self._buffer, self._bytes = [], 0
        self._writer.write_table(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._buffer:
            self._flush()
        self._writer.close()


def rollout_table(rollouts: Sequence[Rollout]) -> pa.Table:
    """Return rollouts as a table of `SCHEMA`."""
    return pa.table({name: [getattr(rollout, name) for rollout in rollouts] for name in SCHEMA.names}, schema=SCHEMA)


def write_rollouts(path: Path, rollouts: Sequence[Rollout]) -> None:
    """Write all rollouts as one Parquet file."""
    with RowGroupWriter(path, SCHEMA) as file:
        file.write(rollout_table(rollouts))


def join_rollouts(path: Path, parts: Iterable[Path]) -> None:
    """Concatenate the rows of several files into one, in order."""
    with RowGroupWriter(path, SCHEMA) as file:
        for part in parts:
            for batch in batches(part, SCHEMA.names):
                file.write(pa.Table.from_batches([batch]))


def batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the named columns in order, at most `BATCH_ROWS` rows at a time; page checksums are verified.

    Raises:
        InputError: the file is not Parquet, is damaged, or lacks columns.
    """
    with _input_errors(path):
        file = pq.ParquetFile(path, page_checksum_verification=True, buffer_size=2**20)
    missing = sorted(set(columns) - set(file.schema_arrow.names))
    if missing:
        file.close()
        raise InputError(f"{path}: not a rollout file, columns {missing} are missing. Make one with `repro sample`.")
    with file:
        record_batches = file.iter_batches(BATCH_ROWS, columns=list(columns))
        while True:
            with _input_errors(path):
                batch = next(record_batches, None)
            if batch is None:
                return
            yield batch.select(columns)


@contextlib.contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as cause:
        raise InputError(f"{path}: not a rollout file ({cause}). Make one with `repro sample`.") from None


def stream_rows(path: Path, columns: Sequence[str], only: Collection[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the named columns as dictionaries, row by row, in the file's order.

    Args:
        only: row numbers; other rows never become Python objects.
    """
    wanted, start = None if only is None else np.sort(np.fromiter(only, dtype=np.int64)), 0
    for batch in batches(path, columns):
        if wanted is None:
            yield from batch.to_pylist()
            continue
        low, high = np.searchsorted(wanted, (start, start + len(batch)))
        numbers = wanted[low:high] - start
        # runs of rows: `take` would make pyarrow import pandas
        for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
            if len(run):
                yield from batch.slice(run[0], len(run)).to_pylist()
        start += len(batch)


def stream_rollouts(paths: Iterable[Path], only: Collection[int] | None = None) -> Iterator[Rollout]:
    """Yield the rollouts of several files in order, with `BATCH_ROWS` in memory. only: row numbers in each file."""
    for path in paths:
        for row in stream_rows(path, SCHEMA.names, only):
            yield Rollout(**row)


def rollout_batches(paths: Iterable[Path]) -> Iterator[list[Rollout]]:
    """Yield the rollouts of several files in order, in lists of at most `BATCH_ROWS`."""
    for path in paths:
        for batch in batches(path, SCHEMA.names):
            yield [Rollout(**row) for row in batch.to_pylist()]


def read_rollouts(path: Path) -> list[Rollout]:
    """Return all rollouts of a file: about 75 bytes per token. To process them one by one, use `stream_rollouts`."""
    return list(stream_rollouts([path]))


def token_counts(batch: pa.RecordBatch, column: Literal["token_ids", "prompt_ids"] = "token_ids") -> list[int]:
    """Return the number of tokens of each completion (or prompt) in a batch with that column."""
    counts: list[int] = batch.column(column).value_lengths().to_pylist()
    return counts
