"""Chunks of completions: kept, shared out, and drawn again where they cannot be read."""

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
def draw(tmp_path):
    items = registry.get("toy-bm4").items("train", 5, 0)  # three chunks

    def drawn(name="one", share=(0, 1)):
        work = tmp_path / name
        chunks = sample(
            CONFIG, model=locate("toy:qwen3-student"), items=items, seed=3, work=work, progress=silent, share=share
        )
        return list(stream_rollouts(chunks)), work

    return drawn


def test_shares_put_together_are_what_one_process_draws(draw):
    whole, _ = draw()
    first, work = draw("two", (0, 2))
    assert [chunk.name for chunk in sorted(work.iterdir())] == ["chunk-000000.parquet", "chunk-000002.parquet"]
    assert first == whole[:4] + whole[8:]
    draw("two", (1, 2))
    assert draw("two")[0] == whole


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_chunk_that_cannot_be_read_is_drawn_again(draw, damage):
    whole, work = draw()
    chunk = work / "chunk-000001.parquet"
    content = bytearray(chunk.read_bytes())
    content[30] ^= 1  # in the first page: its checksum tells
    chunk.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    assert draw()[0] == whole
