"""Measurements of all rollouts of one policy on one task, as columns, and the file that stores them.

Shapes: n rollouts, P prompts, J values of K.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Policy = Literal["student", "teacher"]
Array = NDArray[np.float64]

SCHEMA = pa.schema(
    [
        ("policy", pa.string()),
        ("task", pa.string()),
        ("item_id", pa.string()),
        ("sample", pa.int32()),
        ("tokens", pa.int32()),
        ("correct", pa.bool_()),
        ("answered", pa.bool_()),
        ("sampled_log_prob", pa.float64()),
        ("student_log_prob", pa.float64()),
        ("teacher_log_prob", pa.float64()),
        ("rkl", pa.float64()),
        ("fkl", pa.float64()),
        ("entropy_student", pa.float64()),
        ("entropy_teacher", pa.float64()),
        ("partial_rkl", pa.list_(pa.float64())),
        ("fork_tokens", pa.int32()),
        ("fork_rkl", pa.float64()),
    ]
)
"""One row per rollout. policy: the model that wrote the completion. correct, answered (an answer could be read): null
where the task has no key. Log-probabilities and divergences are sums over the completion's tokens, nats
(`sampled_log_prob`: as recorded by the engine); null if the models share no vocabulary. fork_*: over the tokens above
the task's entropy quantile."""


@dataclass(frozen=True)
class Columns:
    """One policy and task. Attributes as in `SCHEMA`, [n] each (partial_rkl [n, J]); NaN where null.

    prompt_n: [n] index of the prompt, 0..P-1 in order of first appearance. items: P item ids. answered: None if
    `correct` is.
    """

    policy: Policy
    task: str
    items: tuple[str, ...]
    prompt_n: NDArray[np.intp]
    correct: NDArray[np.bool_] | None
    values: dict[str, Array]
    answered: NDArray[np.bool_] | None = None

    def __getitem__(self, name: str) -> Array:
        return self.values[name]

    @property
    def has_shared_vocabulary(self) -> bool:
        """True if there are token-level values."""
        return "rkl" in self.values

    def per_prompt(self, column: Any) -> Array:
        """Return [P], the sum of a column [n] over each prompt's rollouts."""
        weights = np.asarray(column, dtype=np.float64)
        return np.bincount(self.prompt_n, weights=weights, minlength=len(self.items)).astype(np.float64)


def write_measurements(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write all rollouts' rows."""
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd")


def read_measurements(path: Path) -> list[dict[str, Any]]:
    """Read what `write_measurements` wrote."""
    return pq.read_table(path).to_pylist()


def select_columns(rows: list[dict[str, Any]], policy: Policy, task: str) -> Columns:
    """Return the columns of one policy and task."""
    selected = [row for row in rows if (row["policy"], row["task"]) == (policy, task)]
    items = tuple(dict.fromkeys(row["item_id"] for row in selected))
    index = {item: n for n, item in enumerate(items)}
    is_graded = all(row["correct"] is not None for row in selected)
    numbers = [f.name for f in SCHEMA if f.name not in ("policy", "task", "item_id", "sample", "correct", "answered")]
    return Columns(
        policy=policy,
        task=task,
        items=items,
        prompt_n=np.array([index[row["item_id"]] for row in selected], dtype=np.intp),
        correct=np.array([row["correct"] for row in selected], dtype=bool) if is_graded else None,
        values={
            name: np.array([row[name] for row in selected], dtype=np.float64)
            for name in numbers
            if selected and selected[0].get(name) is not None
        },
        answered=np.array([row["answered"] for row in selected], dtype=bool) if is_graded else None,
    )
