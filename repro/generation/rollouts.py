"""The rollout record: one Parquet row per completion, the same from every engine."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True)
class Rollout:
    """One completion of one prompt.

    Attributes:
        prompt: the user message before the chat template; prompt_ids: the tokens that the model saw.
        token_ids: sampled tokens, the end-of-sequence token included when it was sampled.
        log_probs: log p(token | prefix) under the sampling model at the sampling temperature, nats.
        text: token_ids decoded without special tokens.
        stop: "eos" where the model ended by itself, "length" where the cap cut it.
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


def write_rollouts(path: Path, rollouts: Iterable[Rollout]) -> None:
    """Write all rollouts as one Parquet file."""
    table = pa.Table.from_pylist([asdict(r) for r in rollouts], schema=SCHEMA)
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def read_rollouts(path: Path) -> list[Rollout]:
    """Read a file that `write_rollouts` wrote."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as cause:
        raise InputError(f"{path}: not a rollout file ({cause}). Make one with `repro sample`.") from None
    missing = sorted(set(SCHEMA.names) - set(table.column_names))
    if missing:
        raise InputError(f"{path}: not a rollout file, columns {missing} are missing. Make one with `repro sample`.")
    return [Rollout(**row) for row in table.select(SCHEMA.names).to_pylist()]
