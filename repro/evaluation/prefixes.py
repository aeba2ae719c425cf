"""Accuracy of a model when it continues a misled student's prefixes (section 6.5, Figure 4)."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repro.errors import InputError
from repro.evaluation.config import PrefixConfig
from repro.evaluation.graded import read_graded, read_outcomes
from repro.evaluation.lost_prompts import lost_prompts
from repro.evaluation.prefix_cuts import Decode, Prefix, cut_prefixes, is_committed
from repro.evaluation.thoughts import opens_in_thought
from repro.generation.config import SamplingConfig
from repro.generation.rollouts import stream_rollouts
from repro.generation.sample import sample
from repro.models.chat_tokens import is_same_tokenizer
from repro.models.loading import load_tokenizer
from repro.progress import Progress
from repro.tasks import registry
from repro.tasks.completion_grading import grade_completion
from repro.tasks.task import Item

CONTINUATIONS_FILE = "continuations.parquet"
SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("item_id", pa.string()),
        ("source", pa.int32()),
        ("cut", pa.string()),
        ("fraction", pa.float64()),
        ("prefix_tokens", pa.int32()),
        ("prefix", pa.string()),
        ("committed", pa.bool_()),
        ("text", pa.string()),
        ("answer", pa.string()),
        ("correct", pa.bool_()),
        ("undecided", pa.bool_()),
    ]
)
"""A row per continuation. source, cut, fraction: from `prefix_cuts.Prefix`; committed: the prefix alone already states
an answer, or begins to; text: prefix and continuation; undecided: grading hit a limit."""


def require_same_tokenizer(teacher: Path | str, student: Path | str) -> None:
    """Check that a prefix, as token ids, means the same to the teacher as to the student.

    Raises:
        InputError: the tokenizers differ; names both models and the fix.
    """
    if not is_same_tokenizer(load_tokenizer(teacher), load_tokenizer(student)):
        raise InputError(
            f"teacher {teacher} and student {student} have different tokenizers, so the teacher cannot continue the"
            " student's tokens. Use a pair of one family."
        )


def continue_prefixes(
    config: PrefixConfig,
    sampling: SamplingConfig,
    *,
    teacher: Path | str,
    before: Path,
    after: Path,
    items: list[Item],
    seed: int,
    out: Path,
    work: Path,
    progress: Progress,
    tensor_parallel: int = 1,
) -> dict[str, Any]:
    """Sample continuations of every prefix, grade prefix and continuation together, and write a row for each.

    If no prompt was lost, the file has no rows, and the summary says so.

    Args:
        before, after: the graded completions of the student before and after its distillation.

    Returns:
        Per verifiable task: solved, lost (prompts), continuations, tokens; accuracy, committed share and mean prefix
        length, by fraction and for prefixes before a re-check (None: no such prefix); undecided (continuations for
        which grading hit a limit), omitted if 0.
    """
    lost = lost_prompts(read_outcomes(before), read_outcomes(after))
    tokenizer = load_tokenizer(teacher)
    in_thought = opens_in_thought(teacher, reasoning=sampling.reasoning)

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=True))

    prefixes = cut_prefixes(config, lost.lost, read_graded(after, set(lost.lost)), items, decode)
    rows: list[dict[str, Any]] = []
    tokens: Counter[str] = Counter()
    if prefixes:
        chunks = sample(
            sampling.model_copy(update={"completions_per_prompt": config.continuations}),
            model=teacher,
            items=[prefix.item for prefix in prefixes],
            seed=seed,
            work=work,
            progress=progress,
            prefixes=[prefix.token_ids for prefix in prefixes],
            tensor_parallel=tensor_parallel,
        )
        for number, rollout in enumerate(stream_rollouts(chunks)):
            rows.append(_row(prefixes[number // config.continuations], rollout.token_ids, decode, in_thought))
            tokens[rollout.task] += len(rollout.token_ids)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out / CONTINUATIONS_FILE, compression="zstd")
    verifiable = [task for task in dict.fromkeys(item.task for item in items) if registry.kind_of(task) != "open"]
    rows_of = {task: [row for row in rows if row["task"] == task] for task in verifiable}
    return {task: _summarise(config, lost.count(task), rows_of[task], tokens[task]) for task in verifiable}


def _summarise(
    config: PrefixConfig, solved_and_lost: tuple[int, int], rows: list[dict[str, Any]], tokens: int
) -> dict[str, Any]:
    solved, lost = solved_and_lost
    rechecked = [row for row in rows if row["cut"] == "re-check"]
    summary = {
        "solved": solved,
        "lost": lost,
        "continuations": len(rows),
        "tokens": tokens,
        "by_fraction": [
            {"fraction": f, **_of_prefixes([row for row in rows if (row["cut"], row["fraction"]) == ("share", f)])}
            for f in ((0.0, *config.fractions) if rows else ())
        ],
        "before_recheck": {
            "prefixes": len({(r["item_id"], r["source"]) for r in rechecked}),
            **_of_prefixes(rechecked),
        },
    }
    undecided = sum(row["undecided"] for row in rows)
    return summary | ({"undecided": undecided} if undecided else {})


def _row(prefix: Prefix, continuation: Sequence[int], decode: Decode, in_thought: bool) -> dict[str, Any]:
    kind = registry.kind_of(prefix.item.task)
    prefix_text = decode(prefix.token_ids)
    text = decode([*prefix.token_ids, *continuation])
    item = prefix.item
    result = grade_completion(item.task, kind, text, item.key, item.prompt, opens_in_thought=in_thought)
    return {
        "task": prefix.item.task,
        "item_id": prefix.item.id,
        "source": prefix.source,
        "cut": prefix.cut,
        "fraction": prefix.fraction,
        "prefix_tokens": len(prefix.token_ids),
        "prefix": prefix_text,
        "committed": is_committed(prefix_text, kind, opens_in_thought=in_thought),
        "text": text,
        "answer": result.answer,
        "correct": result.correct,
        "undecided": result.is_undecided,
    }


def _of_prefixes(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Summarise the continuations of one kind of prefix by their means; None if there are none."""
    names = ("correct", "committed", "prefix_tokens")
    return {name: sum(row[name] for row in rows) / len(rows) if rows else None for name in names}
