"""Chunks of rows in files: each computed once, whole or not at all, and taken for no other chunk."""

import pyarrow as pa
import pytest

from repro.generation.chunks import compute_chunks
from repro.generation.rollouts import stream_rows

SCHEMA = pa.schema([("number", pa.float64())])
CHUNKS = [[0.1, 0.2], [None], [float("nan"), float("inf"), 1 / 3]]


@pytest.fixture
def compute(tmp_path):
    """Return a function that computes chunks; it returns what it computed now, and the rows of all files."""

    def run(chunks=CHUNKS, share=(0, 1), fails_at=None):
        computed = []

        def table(chunk):
            if chunk == fails_at:
                raise KeyboardInterrupt
            computed.append(chunk)
            return pa.table({"number": chunk}, schema=SCHEMA)

        files = compute_chunks(chunks, table, SCHEMA, tmp_path / "chunks", share)
        return computed, [[row["number"] for row in stream_rows(file, ["number"])] for file in files]

    return run


def test_rows_are_the_same_to_the_last_bit_now_and_later(compute):
    computed, rows = compute()
    assert repr(computed) == repr(rows) == repr(CHUNKS)
    computed, rows = compute()
    assert (computed, repr(rows)) == ([], repr(CHUNKS))


def test_what_was_finished_before_an_interruption_is_kept(compute, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compute(fails_at=[None])
    assert [file.name for file in (tmp_path / "chunks").iterdir()] == ["chunk-000000-000002.parquet"]
    assert compute()[0] == CHUNKS[1:]


def test_a_file_that_could_not_be_written_leaves_nothing(compute, tmp_path, monkeypatch):
    def fill_disk(writer, table):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("repro.generation.chunks.RowGroupWriter.write", fill_disk)
        with pytest.raises(OSError, match="No space"):
            compute()
    assert list((tmp_path / "chunks").iterdir()) == []
    assert repr(compute()[1]) == repr(CHUNKS)


@pytest.mark.parametrize("damage", [lambda content: content[:-5], lambda content: b"", lambda content: b"x" * 200])
def test_a_damaged_file_is_computed_again(compute, tmp_path, damage):
    compute()
    file = tmp_path / "chunks" / "chunk-000002-000003.parquet"
    file.write_bytes(damage(file.read_bytes()))
    computed, rows = compute()
    assert (computed, repr(rows)) == ([[None]], repr(CHUNKS))


def test_chunks_cut_otherwise_are_not_taken(compute):
    """Batches hold other sequences after a change of their size; the second chunk has as many rows as before."""
    compute([[1.0, 2.0], [3.0, 4.0]])
    computed, rows = compute([[1.0], [2.0, 3.0], [4.0]])
    assert computed == rows == [[1.0], [2.0, 3.0], [4.0]]


def test_shares_compute_every_nth_chunk(compute):
    computed, rows = compute(share=(1, 2))
    assert computed == rows == [[None]]
    computed, rows = compute(share=(0, 2))
    assert (repr(computed), repr(rows)) == (repr(CHUNKS[::2]), repr(CHUNKS))
