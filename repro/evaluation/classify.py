"""Classify, by failure mode, every completion of the prompts that a student lost."""

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
from repro.tasks.thoughts import visible_text

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
"""A row per completion of a lost prompt; mode is null for correct completions and where no mode fits."""


def classify_failures(
    judge: Judge, *, before: Path, after: Path, out: Path, progress: Progress, opens_in_thought: bool = False
) -> dict[str, Any]:
    """Judge the completions of all lost prompts, and write a row for each completion.

    Args:
        before, after: the graded completions of the student before and after its distillation.
        opens_in_thought: the prompts of `after` end within a thought (see `repro.tasks.thoughts`).

    Returns:
        Per verifiable task: solved and lost prompts, completions, the count of each mode, and how many completions of
        the evaluation contain a re-check phrase (if 0, self-correction cannot be detected).
    """
    outcomes_before, outcomes_after = read_outcomes(before), read_outcomes(after)
    lost = lost_prompts(outcomes_before, outcomes_after)
    groups = by_prompt(read_graded(after, set(lost.lost)))
    completions = [graded for prompt in lost.lost for graded in groups[prompt]]
    progress(0, len(completions), "completions")
    modes = judge(
        [
            Case(
                prompt=graded.rollout.prompt,
                text=visible_text(graded.rollout.text, opens_in_thought=opens_in_thought),
                trace=graded.rollout.text,
                kind=registry.kind_of(graded.rollout.task),
                key=graded.key or "",
                answer=graded.answer,
                ended=graded.rollout.stop == "eos",
            )
            for graded in completions
        ]
    )
    progress(len(completions), len(completions), "completions")
    rows = [
        {
            "task": graded.rollout.task,
            "item_id": graded.rollout.item_id,
            "sample": graded.rollout.sample,
            "mode": mode,
            "text": graded.rollout.text,
        }
        for graded, mode in zip(completions, modes, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out / MODES_FILE, compression="zstd")
    rechecking = Counter(row["task"] for row in stream_rows(after, ["task", "text"]) if find_rechecks(row["text"]))
    summary: dict[str, Any] = {}
    for task in dict.fromkeys(outcome.task for outcome in outcomes_after):
        if registry.kind_of(task) != "open":
            counts = Counter(row["mode"] for row in rows if row["task"] == task)
            solved, failed = lost.count(task)
            summary[task] = {
                "solved": solved,
                "lost": failed,
                "completions": sum(counts.values()),
                **{mode: counts[mode] for mode in MODES},
                "rechecking": rechecking[task],
            }
    return summary
