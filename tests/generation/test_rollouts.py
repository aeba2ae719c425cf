"""Rollout files: written, read back, and refused if damaged."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repro.errors import InputError
from repro.generation.rollouts import Rollout, read_rollouts, write_rollouts

ROLLOUT = Rollout("i", "toy-bm4", "prompt", 0, [1, 2], [3, 4, 5], [-0.5, -0.25, 0.0], "text", "eos")


def test_a_rollout_survives_the_file(tmp_path):
    empty = Rollout("j", "toy-bm4", "prompt", 1, [1], [], [], "", "length")
    write_rollouts(tmp_path / "r.parquet", [ROLLOUT, empty])
    assert read_rollouts(tmp_path / "r.parquet") == [ROLLOUT, empty]


def test_a_file_without_rollouts_is_refused(tmp_path):
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="not a rollout file"):
        read_rollouts(tmp_path / "text.parquet")
    with pytest.raises(InputError, match="not a rollout file"):
        read_rollouts(tmp_path / "absent.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"columns .* are missing"):
        read_rollouts(tmp_path / "other.parquet")
