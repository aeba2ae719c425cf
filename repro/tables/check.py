"""Oracles: arithmetic that the printed tables must obey, and what they show where they do not.

Numbered as in the method notes: 1 implied lengths, 2 the erratum they betray, 3 drift of a re-measurement, 4 claims against
the paper's own numbers, 5 cost; then 6, majority and pass rates, and 7, mean importance weights. Nothing here knows the
stored errata beforehand: they are found from the numbers, and then compared with what is stored.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

from repro.tables.load import TABLES, Cell, PaperTable, load, load_claims
from repro.tables.printed_evidence import counts, printed_comparisons

Load = Callable[[str], PaperTable]


@dataclass(frozen=True)
class Finding:
    """What one oracle says. `ok` is False where the stored files are wrong or incomplete, which fails the check; a fault of
    the paper that the files record is ok."""

    oracle: int
    ok: bool
    text: str
    cells: tuple[str, ...] = ()


def check(folder: Path | None = None) -> list[Finding]:
    """Run every oracle over the stored tables. The check passes where every finding is `ok`."""

    @cache
    def stored(name: str) -> PaperTable:
        return load(name, folder)

    for name in TABLES:
        stored(name)  # a malformed file is an InputError, whichever oracle would have read it
    return [
        *implied_lengths(stored),
        *sequence_rkl_errata(stored),
        *drift(stored),
        *claims_against_paper(stored, folder),
        *costs(stored, folder),
        *majority_above_pass(stored),
        *mean_weights(stored),
    ]


def lengths(table: PaperTable) -> dict[tuple[str, str], dict[str, tuple[float, float, float]]]:
    """(student, column) -> row label -> implied mean completion length in tokens, with the ends that rounding allows.

    Sequence KL is per sequence and token KL per token, so their ratio is the student's mean length: the same for every
    teacher, because the student's own samples are scored.
    """
    student_key = "student" if "student" in table.row_keys else "family"
    found: dict[tuple[str, str], dict[str, tuple[float, float, float]]] = {}
    for sequence in table.select(metric="sequence_rkl"):
        token = table.cell(sequence.column, "token_rkl", **dict(sequence.row)).printed
        s = sequence.printed
        ends = (s.value - s.half_unit) / (token.value + token.half_unit), (s.value + s.half_unit) / (token.value - token.half_unit)
        found.setdefault((sequence.row[student_key], sequence.column), {})[table.label(sequence)] = (s.value / token.value, *ends)
    return found


def implied_lengths(stored: Load) -> list[Finding]:
    """Oracle 1: one mean length per student and task, whatever the teacher, up to rounding."""
    findings = []
    errata = {c.name for c in stored("table1").cells if c.erratum}
    for (student, column), by_teacher in lengths(stored("table1")).items():
        sound = {t: v for t, v in by_teacher.items() if t not in _outliers(by_teacher)}
        low, high = max(v[1] for v in sound.values()), min(v[2] for v in sound.values())
        mean = sum(v[0] for v in sound.values()) / len(sound)
        text = f"{student} on {column}: mean length {mean:.0f} tokens, the same from {', '.join(sound)} within rounding"
        findings.append(Finding(1, low <= high, text if low <= high else f"{student} on {column}: teachers imply different lengths {sound}"))
    assert errata is not None
    return findings


def _outliers(by_teacher: dict[str, tuple[float, float, float]]) -> list[str]:
    """Rows whose length meets no other's, where at least two others agree."""
    agree = {t: [u for u, other in by_teacher.items() if u != t and _meet(v, other)] for t, v in by_teacher.items()}
    return [t for t, friends in agree.items() if not friends and any(agree.values())]


def _meet(a: tuple[float, float, float], b: tuple[float, float, float]) -> bool:
    return max(a[1], b[1]) <= min(a[2], b[2])
