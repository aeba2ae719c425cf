"""Files of completions joined and streamed: the same rows, the same bytes, and memory flat in the number of chunks."""

import random
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repro.distillation.traces import TraceReader, select_traces
from repro.evaluation.evaluate import evaluate
from repro.evaluation.graded import read_outcomes
from repro.generation import rollouts as module
from repro.generation.mismatch import select_rollouts
from repro.generation.rollouts import (
    SCHEMA,
    Rollout,
    join_rollouts,
    read_rollouts,
    stream_rollouts,
    write_rollouts,
)
from repro.tasks.task import Item

PER_CHUNK, TOKENS = 16, 800


def write_chunks(folder, count, tokens=TOKENS):
    """Write chunks of 16 completions of one prompt each."""
    folder.mkdir()
    rng, files = random.Random(0), []
    for number in range(count):
        rollouts = []
        for sample in range(PER_CHUNK):
            ids = [rng.randrange(150_000) for _ in range(tokens)]
            text = " ".join(map(str, ids[: tokens // 2]))
            rollouts.append(
                Rollout(str(number), "toy-bm4", "?", sample, [1, 2], ids, [-i / 2**18 for i in ids], text, "eos")
            )
        files.append(folder / f"chunk-{number:06d}.parquet")
        write_rollouts(files[-1], rollouts)
    return files


def test_a_joined_file_has_the_bytes_of_one_written_at_once(tmp_path):
    chunks = write_chunks(tmp_path / "chunks", 20, tokens=5)
    rollouts = [rollout for chunk in chunks for rollout in read_rollouts(chunk)]
    join_rollouts(tmp_path / "joined.parquet", chunks)
    table = pa.Table.from_pylist([vars(rollout) for rollout in rollouts], schema=SCHEMA)
    pq.write_table(table, tmp_path / "once.parquet", compression="zstd", write_page_checksum=True)
    assert (tmp_path / "joined.parquet").read_bytes() == (tmp_path / "once.parquet").read_bytes()


def test_row_groups_change_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 2000)
    chunks = write_chunks(tmp_path / "chunks", 20, tokens=5)
    join_rollouts(tmp_path / "joined.parquet", chunks)
    assert pq.ParquetFile(tmp_path / "joined.parquet").num_row_groups > 5
    assert read_rollouts(tmp_path / "joined.parquet") == list(stream_rollouts(chunks))


def test_selected_rows_are_those_of_the_file(tmp_path):
    (chunk,) = write_chunks(tmp_path / "chunks", 1, tokens=5)
    write_rollouts(tmp_path / "many.parquet", read_rollouts(chunk) * 40)
    rollouts = read_rollouts(tmp_path / "many.parquet")
    for only in ([], [0], [639], [3, 127, 128, 129, 511], range(640)):
        assert list(stream_rollouts([tmp_path / "many.parquet"], only)) == [rollouts[n] for n in only]
    assert select_rollouts(tmp_path / "many.parquet") == rollouts[::160]


POOLS: list[pa.MemoryPool] = []
"""They must outlive every buffer that was allocated in them."""


def peak(work) -> int:
    """Return peak bytes of Python objects and of Arrow."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    POOLS.append(pool)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


JOBS = {
    "join": lambda items, chunks, folder: join_rollouts(folder / "joined", chunks),
    "grade": lambda items, chunks, folder: evaluate(items, chunks, None, folder / "graded"),
    "measure": lambda items, chunks, folder: read_outcomes(folder / "graded"),
    "train": lambda items, chunks, folder: select_traces(
        folder / "joined",
        items,
        16,
        0,
        TraceReader(tokenizer=None, end_id=0, has_shared_tokens=True, kind="full", cap=TOKENS),
    ),
    "check": lambda items, chunks, folder: select_rollouts(folder / "joined"),
}


def test_memory_does_not_grow_with_the_number_of_chunks(tmp_path, monkeypatch):
    """Four times the chunks take hardly more memory: a row's outcome is kept, not its tokens."""
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 2**18)
    monkeypatch.setattr(module, "BATCH_ROWS", 8)
    peaks = {name: [] for name in JOBS}
    for count in (4, 16):
        chunks = write_chunks(tmp_path / str(count), count)
        items = [Item(str(number), "toy-bm4", "?", "7") for number in range(count)]
        for name, job in JOBS.items():
            peaks[name].append(peak(lambda: job(items, chunks, tmp_path / str(count))))  # noqa: B023
    print(peaks)
    for name, (few, many) in peaks.items():
        assert many < 1.3 * few, name


def test_a_damaged_page_is_refused_when_it_is_read(tmp_path):
    (chunk,) = write_chunks(tmp_path / "chunks", 1, tokens=50)
    content = bytearray(chunk.read_bytes())
    content[200] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(module.InputError, match="not a rollout file"):
        read_rollouts(chunk)
