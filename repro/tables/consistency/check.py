"""Run every oracle over the stored tables, and compare what they find with what the files record.

Oracles 1 to 5 are those of the method notes: implied lengths, the erratum that they betray, the drift of a
re-measurement, claims against the paper's own numbers, cost. 6 is majority against pass rate, 7 the mean
importance weights.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from repro.tables.consistency.claim_evidence import counts, printed_comparisons
from repro.tables.consistency.oracles import (
    drifts,
    implied_lengths,
    impossible_rates,
    length_outliers,
    mean_weights,
    names,
    outliers,
    repeated_runs,
)
from repro.tables.paper.load import TABLES, PaperTable, PrintedCell, load, load_claims

Load = Callable[[str], PaperTable]


@dataclass(frozen=True)
class Finding:
    """What an oracle says. ok is False where the stored files are wrong or incomplete, which fails the check;
    a fault of the paper that the files record is ok."""

    oracle: int
    ok: bool
    text: str
    cells: tuple[str, ...] = ()


def check_tables(folder: Path | None = None) -> list[Finding]:
    """All findings, in the order of the oracles. The check passes where every finding is ok."""

    @cache
    def stored(name: str) -> PaperTable:
        return load(name, folder)

    for name in TABLES:
        stored(name)  # a malformed file is an InputError, whichever oracle would have read it first
    return [
        *_lengths(stored("table1")),
        *_errata(stored),
        *_drift(stored("table1"), stored("table4")),
        *_claims(stored, folder),
        *_costs(stored("table5"), folder),
        *_mean_weights(stored("table1")),
    ]


def _lengths(table: PaperTable) -> list[Finding]:
    findings = []
    for (family, column), found in implied_lengths(table).items():
        agreeing = [length for length in found if length not in outliers(found)]
        ok = max(length.low for length in agreeing) <= min(length.high for length in agreeing)
        mean = sum(length.value for length in agreeing) / len(agreeing)
        verb = "agree" if ok else "disagree"
        rows = ", ".join(length.row for length in agreeing)
        text = f"{family} on {column}: mean length {mean:.0f} tokens; {rows} {verb} within rounding"
        findings.append(Finding(1, ok, text))
    return findings


def _errata(stored: Load) -> list[Finding]:
    """Errata that the numbers show, against those that the files record: both ways."""
    table1, table2 = stored("table1"), stored("table2")
    odd, impossible = length_outliers(table1), impossible_rates(table2)
    findings = []
    for cell in odd:
        text = f"{cell.name} prints {cell.printed.text}: its implied length meets no other teacher's"
        findings.append(_found(2, [cell], text))
    for first, second in repeated_runs(table1, "sequence_rkl"):
        wrong = [cell for cell in (first, second) if cell in odd] or [first, second]
        findings.append(_found(2, wrong, f"{second.name} repeats {first.name} ({first.printed.text})"))
    for rate, passed in impossible:
        text = f"{rate.name} prints {rate.printed.text}, above pass@16 {passed.printed.text}"
        findings.append(_found(6, [rate, passed], text))
    shown = set(names([*odd, *(c for pair in impossible for c in pair)]))
    for name in TABLES:
        for cell in stored(name).cells:
            if cell.erratum and cell.name not in shown:
                text = f"{cell.name}: {name}.toml records erratum {cell.erratum!r}, which no oracle finds"
                findings.append(Finding(2, False, text, (cell.name,)))
    return findings


def _found(oracle: int, cells: list[PrintedCell], text: str) -> Finding:
    unrecorded = [cell for cell in cells if not cell.erratum]
    word = "not recorded as an erratum" if unrecorded else "recorded as an erratum"
    return Finding(oracle, not unrecorded, f"{text}; {word}", names(cells))


def _drift(table1: PaperTable, table4: PaperTable) -> list[Finding]:
    findings = []
    for cell in table4.select(variant="Original"):
        twin = table1.cell(cell.column, cell.metric, family=cell.row["family"], teacher=cell.row["teacher"])
        if twin.value != cell.value:
            text = (
                f"{cell.name} prints {cell.printed.text}, {twin.name} prints {twin.printed.text}: they "
                "should be one number"
            )
            findings.append(Finding(3, False, text, names([cell, twin])))
    moved = {place: by for place, by in drifts(table1, table4).items() if place[1] != "Original"}
    for family in dict.fromkeys(place[0] for place in moved):
        own = {place: by for place, by in moved.items() if place[0] == family}
        place = max(own, key=lambda p: abs(own[p]))
        margin = table4.metrics["token_rkl"].margin or 0.0
        text = (
            f"{family}: Table 4 moves the same student's implied length by up to {own[place]:+.1%} "
            f"({place[1]}, {place[2]})"
        )
        findings.append(Finding(3, abs(own[place]) <= margin, f"{text}; the KL margin is {margin:.0%}"))
    return findings


def _claims(stored: Load, folder: Path | None) -> list[Finding]:
    findings = []
    for claim in load_claims(folder=folder):
        comparisons = printed_comparisons(claim, stored)
        held, of = counts(claim, comparisons)
        ok = (held, of) == (claim.paper.held, claim.paper.of)
        failing = tuple(c.place for c in comparisons if not c.held) if claim.kind != "exists" else ()
        if not ok:
            text = (
                f"{claim.id}: {held} of {of} printed comparisons hold, claims.toml says "
                f"{claim.paper.held} of {claim.paper.of}"
            )
        elif of == 0:
            continue
        else:
            text = f"{claim.id}: the paper's own numbers bear it out in {held} of {of}"
        findings.append(Finding(4, ok, text, failing))
    return findings


def _costs(table: PaperTable, folder: Path | None) -> list[Finding]:
    """Hours that the prose quotes are the table's, and on-policy distillation costs most of the pipeline."""
    hours = {table.label(cell): cell.value for cell in table.cells}
    total = sum(hours.values())
    dearest = max(hours, key=lambda process: hours[process])
    text = f"{total:.1f} H100 hours in all; {dearest} takes {hours[dearest] / total:.0%}"
    findings = [Finding(5, "on-policy" in dearest, text)]
    for claim in load_claims(folder=folder):
        if claim.study == table.id:
            quoted = {float(number) for number in re.findall(r"\d+\.\d+", claim.quote)}
            named = {hours[ref.row] for ref in (claim.left, *claim.right) if ref.row in hours}
            ok = quoted == named
            findings.append(
                Finding(5, ok, f"{claim.id}: the prose quotes {sorted(quoted)}, the table prints {sorted(named)}")
            )
    return findings


def _mean_weights(table: PaperTable) -> list[Finding]:
    found = mean_weights(table)
    far = [(cell, weight) for cell, weight in found if abs(weight - 1) > 0.5]
    spread = ", ".join(f"{weight:.2g}" for _, weight in found)
    text = (
        f"implied mean importance weights {spread}, where 1 is due: {len(far)} of {len(found)} are off "
        "by more than a half"
    )
    matched = [cell for cell, _ in far if cell.definition.policy != "diagnose"]
    return [Finding(7, not matched, f"{text}; such cells are diagnosed, never matched", names(cell for cell, _ in far))]
