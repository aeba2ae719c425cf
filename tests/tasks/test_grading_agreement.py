"""Agreement with labels: on invented completions, and on a real file if there is one."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repro.tasks.grading import grade

LABELLED = "gsm8k_labelled_outputs.jsonl"
"""Rows: question, ground_truth, and per model {solution, is_correct}; a solution ends with a line `A: n`."""

INVENTED: list[dict[str, Any]] = [
    {
        "question": "A bus holds 40 people. How many do 3 buses hold?",
        "ground_truth": "3 * 40 = <<3*40=120>>120\nA: 120",
        "small_model": {"solution": "3 + 40 = <<3+40=43>>43\nA: 43", "is_correct": False},
        "large_model": {"solution": "40 * 3 = <<40*3=120>>120\nA: 120", "is_correct": True},
    },
    {
        "question": "A town of 2400 grows by a quarter. How many people live there?",
        "ground_truth": "2400 * 1.25 = 3000\nA: 3,000",
        "small_model": {"solution": "2400 * 1.25 = 3000\nA: 3000.0", "is_correct": True},
        "large_model": {"solution": "A quarter of 2400 is 600, and 600 is", "is_correct": False},
    },
]


def _verdicts(rows: list[dict[str, Any]]) -> Iterator[tuple[bool, bool]]:
    """Yield (our verdict, label) of each completion. Its final `A: n` is boxed, as our prompts request."""
    for row in rows:
        key = row["ground_truth"].rsplit("A: ", 1)[1].strip().replace(",", "")
        for completion in row.values():
            if isinstance(completion, dict):
                work, mark, answer = completion["solution"].rpartition("\nA:")
                text = f"{work}\n\\boxed{{{answer.strip()}}}" if mark else answer
                yield grade("numeric", text, key).correct, completion["is_correct"]


def test_agreement_on_invented_completions() -> None:
    verdicts = list(_verdicts(INVENTED))
    assert len(verdicts) == 4
    assert all(verdict == label for verdict, label in verdicts)


def test_agreement_on_real_completions() -> None:
    folder = os.environ.get("REPRO_DATA_DIR")
    path = Path(folder or ".") / LABELLED
    if not folder or not path.is_file():
        pytest.skip(f"set REPRO_DATA_DIR to a folder with {LABELLED} (rows of grade-school-math's example solutions)")
    with path.open(encoding="utf-8") as lines:
        verdicts = list(_verdicts([json.loads(line) for line in lines]))
    assert len(verdicts) >= 200
    agreement = sum(verdict == label for verdict, label in verdicts) / len(verdicts)
    assert agreement >= 0.999, f"{agreement:.4f} of {len(verdicts)}"
