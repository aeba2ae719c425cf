"""The failure mode of every completion of the prompts that a student lost."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repro.evaluation.failure_modes import MODES, find_rechecks
from repro.evaluation.graded import by_prompt, read_graded, read_outcomes
from repro.evaluation.judge import Case, Judge
from repro.evaluation.lost_prompts import lost_prompts
from repro.generation.rollouts import stream_rows
from repro.progress import Progress
from repro.tasks import registry

MODES_FILE = "modes.parquet"
SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("item_id", pa.string()),
        ("sample", pa.int32()),
        ("mode", pa.string()),
        ("text", pa.string()),
    ]
)
"""A row per completion of a lost prompt; mode is null for a right completion, and for one that fits none."""


def classify_failures(judge: Judge, *, before: Path, after: Path, out: Path, progress: Progress) -> dict[str, Any]:
    """Judge, and write a row per completion.

    Args:
        before, after: the graded completions of the student before and after its distillation.

    Returns:
        Per verifiable task: solved and lost prompts, completions, the count of each mode, and how many completions of
        the whole evaluation hold a re-check phrase (0: self-correction cannot be seen there).
    """
    first, then = read_outcomes(before), read_outcomes(after)
    lost = lost_prompts(first, then)
    groups = by_prompt(read_graded(after, set(lost.lost)))
    own = [g for prompt in lost.lost for g in groups[prompt]]
    progress(0, len(own), "completions")
    modes = judge(
        [
            Case(
                prompt=g.rollout.prompt,
                text=g.rollout.text,
                kind=registry.kind_of(g.rollout.task),
                key=g.key or "",
                answer=g.answer,
                ended=g.rollout.stop == "eos",
            )
            for g in own
        ]
    )
    progress(len(own), len(own), "completions")
    rows = [
        {
            "task": g.rollout.task,
            "item_id": g.rollout.item_id,
            "sample": g.rollout.sample,
            "mode": mode,
            "text": g.rollout.text,
        }
        for g, mode in zip(own, modes, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out / MODES_FILE, compression="zstd")
    rechecking = Counter(row["task"] for row in stream_rows(after, ["task", "text"]) if find_rechecks(row["text"]))
    summary: dict[str, Any] = {}
    for task in dict.fromkeys(one.task for one in then):
        if registry.kind_of(task) != "open":
            counts = Counter(row["mode"] for row in rows if row["task"] == task)
            solved, failed = lost.of(task)
            summary[task] = {
                "solved": solved,
                "lost": failed,
                "completions": sum(counts.values()),
                **{mode: counts[mode] for mode in MODES},
                "rechecking": rechecking[task],
            }
    return summary
