"""Print an evaluation's or sample's completions as text, with their grades."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from repro.errors import InputError
from repro.generation.rollouts import stream_rows
from repro.report.text import cut, visible
from repro.stages.artifact import ROLLOUTS

SHOWN = 3
"""Completions of a prompt that are printed; the others are counted."""
_COLUMNS = ("task", "item_id", "prompt", "text", "stop", "token_ids")
_GRADES = ("key", "answer", "score", "undecided")


def print_completions(folder: Path, prompts: int, console: Console) -> None:
    """Print the first prompts of each task with the first completions of each, not chosen.

    Args:
        folder: the artifact of an evaluation, or of a sample, which has no grades.
        prompts: of each task, 1 or more.

    Raises:
        InputError: no completions there, a damaged file, or no prompt requested.
    """
    if prompts < 1:
        raise InputError(f"--completions {prompts}: request at least one prompt.")
    file = folder / ROLLOUTS
    if not file.is_file():
        raise InputError(f"{folder}: has no completions. Name an artifact of `repro evaluate` or `repro sample`.")
    for line in _lines(file, prompts):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _lines(file: Path, prompts: int) -> Iterator[str]:
    for (task, item), rows in _read_prompts(file, prompts).items():
        yield f"{task}, item {visible(item)}"
        yield _indent(rows[0]["prompt"], 2)
        if rows[0].get("key") is not None:
            yield f"  key: {visible(rows[0]['key'])}"
        for number, row in enumerate(rows[:SHOWN], 1):
            length = f"{len(row['token_ids'])} tokens{', cut at the token cap' if row['stop'] == 'length' else ''}"
            yield f"  {number}: {', '.join(filter(None, (_grade(row), _answer(row), length)))}"
            yield _indent(row["text"], 5)
        if others := rows[SHOWN:]:
            counts = Counter(filter(None, map(_grade, others)))
            listed = ", ".join(f"{count} {grade}" for grade, count in counts.most_common())
            has_rewards = any(grade.startswith("reward") for grade in counts)
            yield f"  {len(others)} more{f': {listed}' if listed and not has_rewards else ''}"
        yield ""


def _read_prompts(file: Path, prompts: int) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the rows of each task's first prompts, in file order, without reading the texts of other rows."""
    numbers: dict[tuple[str, str], list[int]] = {}
    tasks: Counter[str] = Counter()
    for number, row in enumerate(stream_rows(file, ["task", "item_id"])):
        key = row["task"], row["item_id"]
        if key not in numbers and tasks[row["task"]] < prompts:
            tasks[row["task"]] += 1
            numbers[key] = []
        if key in numbers:
            numbers[key].append(number)
    stored = set(pq.read_schema(file).names)
    columns = [*_COLUMNS, *(name for name in _GRADES if name in stored)]
    rows = stream_rows(file, columns, [number for of_prompt in numbers.values() for number in of_prompt])
    by_prompt: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_prompt.setdefault((row["task"], row["item_id"]), []).append(row)
    return by_prompt


def _grade(row: dict[str, Any]) -> str:
    """Return the grade in words; nothing of a sample."""
    if "score" not in row:
        return ""
    if row["key"] is None:
        return f"reward {row['score']:.3f}"
    if row.get("undecided"):
        return "undecided"
    return "right" if row["score"] == 1 else "no answer" if row["answer"] is None else "wrong"


def _answer(row: dict[str, Any]) -> str:
    return f"answer {visible(row['answer'])}" if row.get("answer") is not None else ""


def _indent(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in visible(cut(text), lines=True).split("\n"))
