"""Chunks of completions: kept, shared among processes, and sampled again if they cannot be read."""

import pytest

from repro.generation.config import SamplingConfig
from repro.generation.rollouts import stream_rollouts
from repro.generation.sample import sample
from repro.models.loading import locate
from repro.progress import silent
from repro.tasks import registry

CONFIG = SamplingConfig(
    completions_per_prompt=2, temperature=1.0, max_completion_tokens=6, engine="transformers", batch_sequences=4
)


@pytest.fixture
def sample_chunks(tmp_path):
    items = registry.get("toy-bm4").items("train", 5, 0)  # three chunks

    def run(name="all", share=(0, 1)):
        work = tmp_path / name
        chunks = sample(
            CONFIG, model=locate("toy:qwen3-student"), items=items, seed=3, work=work, progress=silent, share=share
        )
        return list(stream_rollouts(chunks)), work

    return run


def test_shares_together_are_what_one_process_samples(sample_chunks):
    complete, _ = sample_chunks()
    first, work = sample_chunks("shares", (0, 2))
    names = [chunk.name for chunk in sorted(work.iterdir())]
    assert names == ["chunk-000000-000002.parquet", "chunk-000004-000005.parquet"]
    assert first == complete[:4] + complete[8:]
    sample_chunks("shares", (1, 2))
    assert sample_chunks("shares")[0] == complete


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_chunk_that_cannot_be_read_is_sampled_again(sample_chunks, damage):
    complete, work = sample_chunks()
    chunk = work / "chunk-000002-000004.parquet"
    content = bytearray(chunk.read_bytes())
    content[30] ^= 1  # in the first page, whose checksum then fails
    chunk.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    assert sample_chunks()[0] == complete
