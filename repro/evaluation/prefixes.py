"""Accuracy of a teacher that continues a misled student's prefixes (section 6.5, Figure 4)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repro.errors import InputError
from repro.evaluation.config import PrefixConfig
from repro.evaluation.graded import Graded, PromptKey, by_prompt, read_graded, read_outcomes
from repro.evaluation.lost_prompts import lost_prompts
from repro.generation.config import SamplingConfig
from repro.generation.rollouts import stream_rollouts
from repro.generation.sample import sample
from repro.models.chat_tokens import is_same_tokenizer
from repro.models.loading import load_tokenizer
from repro.progress import Progress
from repro.tasks import registry
from repro.tasks.extraction import BOX_OPENING
from repro.tasks.grading import grade
from repro.tasks.task import Item, Kind

CONTINUATIONS_FILE = "continuations.parquet"
SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("item_id", pa.string()),
        ("source", pa.int32()),
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
"""A row per continuation. source: the student's sample that the prefix was cut from; committed: the prefix alone already
states an answer, or begins to; text: prefix and continuation; undecided: grading reached a limit."""


@dataclass(frozen=True)
class Prefix:
    """The beginning of a wrong completion of the student. fraction 0: the empty prefix."""

    item: Item
    source: int
    fraction: float
    token_ids: tuple[int, ...]


def require_same_tokenizer(teacher: Path | str, student: Path | str) -> None:
    """Check that the teacher reads a prefix, a list of tokens, as the student wrote it.

    Raises:
        InputError: the tokenizers differ; names both models and the fix.
    """
    if not is_same_tokenizer(load_tokenizer(teacher), load_tokenizer(student)):
        raise InputError(
            f"teacher {teacher} and student {student} have different tokenizers, so the teacher cannot continue the"
            " student's tokens. Use a pair of one family."
        )


def cut_prefixes(
    config: PrefixConfig, lost: Sequence[PromptKey], after: Iterable[Graded], items: Sequence[Item]
) -> list[Prefix]:
    """Cut the empty prefix and every fraction from the first wrong completions of every lost prompt.

    A prefix has at least one token, and never the end token.

    Args:
        after: the student's completions of the lost prompts.
    """
    items_by_key = {(item.task, item.id): item for item in items}
    groups = by_prompt(after)
    prefixes = []
    for prompt in lost:
        wrong = [g.rollout for g in groups[prompt] if g.score == 0 and has_tokens(g)][: config.per_prompt]
        for rollout in wrong:
            ids = rollout.token_ids[:-1] if rollout.stop == "eos" else rollout.token_ids
            for fraction in (0.0, *config.fractions):
                length = max(1, int(fraction * len(ids))) if fraction else 0
                prefixes.append(Prefix(items_by_key[prompt], rollout.sample, fraction, tuple(ids[:length])))
    return prefixes


def has_tokens(graded: Graded) -> bool:
    """Return True if the completion has any token besides its end."""
    return len(graded.rollout.token_ids) > (graded.rollout.stop == "eos")


def is_committed(prefix: str, kind: Kind) -> bool:
    """Return True if a prefix states an answer, or begins to (`\\boxed{5`).

    A teacher that continues it cannot take the answer back, so its own answer stays unknown.
    """
    boxes = BOX_OPENING.split(prefix)[1:]
    return bool(boxes and boxes[-1].strip()) or grade(kind, prefix, None).answer is not None


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

    If no prompt was lost, the file has no row, and the summary says so.

    Args:
        before, after: the graded completions of the student before and after its distillation.

    Returns:
        Per verifiable task: solved, lost (prompts), continuations, tokens, and accuracy and committed share by fraction;
        undecided (continuations whose grading reached a limit) is omitted if 0.
    """
    lost = lost_prompts(read_outcomes(before), read_outcomes(after))
    prefixes = cut_prefixes(config, lost.lost, read_graded(after, set(lost.lost)), items)
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
        tokenizer = load_tokenizer(teacher)
        for number, rollout in enumerate(stream_rollouts(chunks)):
            rows.append(_row(prefixes[number // config.continuations], rollout.token_ids, tokenizer))
            tokens[rollout.task] += len(rollout.token_ids)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out / CONTINUATIONS_FILE, compression="zstd")
    verifiable = [task for task in dict.fromkeys(item.task for item in items) if registry.kind_of(task) != "open"]
    rows_of = {task: [row for row in rows if row["task"] == task] for task in verifiable}
    return {task: _summarise(config, lost.count(task), rows_of[task], tokens[task]) for task in verifiable}


def _summarise(
    config: PrefixConfig, solved_and_lost: tuple[int, int], rows: list[dict[str, Any]], tokens: int
) -> dict[str, Any]:
    solved, lost = solved_and_lost
    summary = {
        "solved": solved,
        "lost": lost,
        "continuations": len(rows),
        "tokens": tokens,
        "by_fraction": [_share(rows, fraction) for fraction in (0.0, *config.fractions)] if rows else [],
    }
    undecided = sum(row["undecided"] for row in rows)
    return summary | ({"undecided": undecided} if undecided else {})


def _row(prefix: Prefix, continuation: Sequence[int], tokenizer: Any) -> dict[str, Any]:
    kind = registry.kind_of(prefix.item.task)
    prefix_text = tokenizer.decode(list(prefix.token_ids), skip_special_tokens=True)
    text = tokenizer.decode([*prefix.token_ids, *continuation], skip_special_tokens=True)
    result = grade(kind, text, prefix.item.key)
    return {
        "task": prefix.item.task,
        "item_id": prefix.item.id,
        "source": prefix.source,
        "fraction": prefix.fraction,
        "prefix_tokens": len(prefix.token_ids),
        "prefix": prefix_text,
        "committed": is_committed(prefix_text, kind),
        "text": text,
        "answer": result.answer,
        "correct": result.correct,
        "undecided": result.is_undecided,
    }


def _share(rows: list[dict[str, Any]], fraction: float) -> dict[str, float]:
    of_fraction = [row for row in rows if row["fraction"] == fraction]
    return {
        "fraction": fraction,
        "correct": sum(row["correct"] for row in of_fraction) / len(of_fraction),
        "committed": sum(row["committed"] for row in of_fraction) / len(of_fraction),
        "prefix_tokens": sum(row["prefix_tokens"] for row in of_fraction) / len(of_fraction),
    }
