"""Run every oracle over the stored tables and compare the findings with what the files record.

Oracles 1 to 5 come from the method notes: implied lengths, the erratum they reveal, the drift of a re-measurement,
claims against the paper's own numbers, and cost. Oracle 6 compares majority with pass rate; 7 checks mean importance
weights.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from repro.printed.load import PaperTable, PrintedCell, load, load_claims, table_names
from repro.tables.consistency.claim_evidence import Load, counts, printed_comparisons
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

ORACLES = {
    1: "implied lengths",
    2: "errata",
    3: "drift between tables",
    4: "claims",
    5: "cost",
    6: "majority and pass rates",
    7: "mean importance weights",
}
"""What each oracle compares, in words."""


@dataclass(frozen=True)
class OracleFinding:
    """The finding of one oracle.

    ok is False if the stored files are wrong or incomplete, which fails the check; a known error in the paper is ok.
    """

    oracle: int
    ok: bool
    text: str
    cells: tuple[str, ...] = ()


def check_tables(folder: Path | None = None) -> list[OracleFinding]:
    """Return all findings, in the order of the oracles. The check passes if every finding is ok."""

    @cache
    def stored(name: str) -> PaperTable:
        return load(name, folder)

    tables = table_names(folder)
    for name in tables:
        stored(name)  # a malformed file is an InputError, whichever oracle reads it first
    return [
        *_check_lengths(stored("table1")),
        *_check_errata(stored, tables),
        *_check_drift(stored("table1"), stored("table4")),
        *_check_claims(stored, folder),
        *_check_costs(stored("table5"), folder),
        _check_mean_weights(stored("table1")),
    ]


def _check_lengths(table: PaperTable) -> list[OracleFinding]:
    findings = []
    for (family, column), lengths in implied_lengths(table).items():
        agreeing = [length for length in lengths if length not in outliers(lengths)]
        ok = max(length.low for length in agreeing) <= min(length.high for length in agreeing)
        mean = sum(length.value for length in agreeing) / len(agreeing)
        verb = "agree" if ok else "disagree"
        rows = ", ".join(length.row for length in agreeing)
        text = f"{family} on {column}: mean length {mean:.0f} tokens; {rows} {verb} within rounding"
        findings.append(OracleFinding(1, ok, text))
    return findings


def _check_errata(stored: Load, tables: list[str]) -> list[OracleFinding]:
    """Compare the errata found in the numbers with the recorded ones, in both directions."""
    table1, table2 = stored("table1"), stored("table2")
    odd, impossible = length_outliers(table1), impossible_rates(table2)
    findings = []
    for cell in odd:
        text = f"{cell.name} prints {cell.printed.text}: its implied length meets no other teacher's"
        findings.append(_suspect(2, [cell], text))
    for first, second in repeated_runs(table1, "sequence_rkl"):
        suspects = [cell for cell in (first, second) if cell in odd] or [first, second]
        findings.append(_suspect(2, suspects, f"{second.name} repeats {first.name} ({first.printed.text})"))
    for rate, passed in impossible:
        text = f"{rate.name} prints {rate.printed.text}, above pass@16 {passed.printed.text}"
        findings.append(_suspect(6, [rate, passed], text))
    from_numbers = set(names([*odd, *(cell for pair in impossible for cell in pair)]))
    for name in tables:
        for cell in stored(name).cells:
            if cell.erratum and cell.name not in from_numbers:
                text = f"{cell.name}: {name}.toml records erratum {cell.erratum!r}, which no oracle finds"
                findings.append(OracleFinding(2, ok=False, text=text, cells=(cell.name,)))
    return findings


def _suspect(oracle: int, cells: list[PrintedCell], text: str) -> OracleFinding:
    is_recorded = all(cell.erratum for cell in cells)
    status = "recorded as an erratum" if is_recorded else "not recorded as an erratum"
    return OracleFinding(oracle, is_recorded, f"{text}; {status}", names(cells))


def _check_drift(table1: PaperTable, table4: PaperTable) -> list[OracleFinding]:
    findings = []
    for cell in table4.select(variant="Original"):
        twin = table1.cell(cell.column, cell.metric, family=cell.row["family"], teacher=cell.row["teacher"])
        if twin.value != cell.value:
            text = (
                f"{cell.name} prints {cell.printed.text}, {twin.name} prints {twin.printed.text}: they "
                "should be one number"
            )
            findings.append(OracleFinding(3, ok=False, text=text, cells=names([cell, twin])))
    margin = table4.metrics["token_rkl"].margin or 0.0
    by_family: dict[str, dict[tuple[str, str], float]] = {}
    for (family, row, column), drift in drifts(table1, table4).items():
        if row != "Original":
            by_family.setdefault(family, {})[row, column] = drift
    for family, family_drifts in by_family.items():
        (row, column), largest = max(family_drifts.items(), key=lambda item: abs(item[1]))
        text = f"{family}: Table 4 moves the same student's implied length by up to {largest:+.1%} ({row}, {column})"
        findings.append(OracleFinding(3, abs(largest) <= margin, f"{text}; the KL margin is {margin:.0%}"))
    return findings


def _check_claims(stored: Load, folder: Path | None) -> list[OracleFinding]:
    findings = []
    for claim in load_claims(folder=folder):
        comparisons = printed_comparisons(claim, stored)
        held, of = counts(claim, comparisons)
        ok = (held, of) == (claim.paper.held, claim.paper.of)
        failing = tuple(c.label for c in comparisons if not c.held) if claim.kind != "exists" else ()
        if not ok:
            text = (
                f"{claim.id}: {held} of {of} printed comparisons hold, claims.toml says "
                f"{claim.paper.held} of {claim.paper.of}"
            )
        elif of == 0:
            continue
        else:
            text = f"{claim.id}: the paper's own numbers bear it out in {held} of {of}"
        findings.append(OracleFinding(4, ok, text, failing))
    return findings


def _check_costs(table: PaperTable, folder: Path | None) -> list[OracleFinding]:
    """Check that hours quoted in the prose match the table, and that on-policy distillation costs most."""
    hours = {table.label(cell): cell.value for cell in table.cells}
    total = sum(hours.values())
    dearest = max(hours, key=lambda process: hours[process])
    text = f"{total:.1f} H100 hours in all; {dearest} takes {hours[dearest] / total:.0%}"
    findings = [OracleFinding(5, "on-policy" in dearest, text)]
    for claim in load_claims(folder=folder):
        if claim.study == table.id:
            quoted = {float(number) for number in re.findall(r"\d+\.\d+", claim.quote)}
            printed = {hours[ref.row] for ref in (claim.left, *claim.right) if ref.row in hours}
            text = f"{claim.id}: the prose quotes {sorted(quoted)}, the table prints {sorted(printed)}"
            findings.append(OracleFinding(5, quoted == printed, text))
    return findings


def _check_mean_weights(table: PaperTable) -> OracleFinding:
    weights = mean_weights(table)
    far = [cell for cell, weight in weights if abs(weight - 1) > 0.5]
    values = ", ".join(f"{weight:.2g}" for _, weight in weights)
    text = (
        f"implied mean importance weights {values}, which should be 1: {len(far)} of {len(weights)} are off "
        "by more than a half; such cells are diagnosed only, not tested"
    )
    return OracleFinding(7, all(cell.definition.policy == "diagnose" for cell in far), text, names(far))
