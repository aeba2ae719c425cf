"""Arithmetic constraints on printed numbers, and the cells that violate them.

Nothing here reads the stored errata: they are derived from the numbers, and `check` compares them with the stored ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from repro.printed.load import PaperTable, PrintedCell


@dataclass(frozen=True)
class Length:
    """Mean completion length in tokens implied by two printed KLs; low and high: bounds given rounding."""

    row: str
    value: float
    low: float
    high: float

    def agrees_with(self, other: "Length") -> bool:
        """Return True if both could be the same length."""
        return max(self.low, other.low) <= min(self.high, other.high)


def implied_lengths(table: PaperTable) -> dict[tuple[str, str], list[Length]]:
    """Return (family, column) -> one length per row.

    Sequence KL is per sequence and token KL per token, so their ratio is the mean length of the samples. These are the
    student's own completions, so the length is the same for every teacher.
    """
    lengths: dict[tuple[str, str], list[Length]] = {}
    for cell in table.select(metric="sequence_rkl"):
        s, t = cell.printed, table.cell(cell.column, "token_rkl", **cell.row).printed
        low = (s.value - s.half_unit) / (t.value + t.half_unit)
        high = (s.value + s.half_unit) / (t.value - t.half_unit)
        length = Length(table.label(cell), s.value / t.value, low, high)
        lengths.setdefault((cell.row["family"], cell.column), []).append(length)
    return lengths


def outliers(lengths: list[Length]) -> list[Length]:
    """Return the lengths that agree with no other, if some others agree: with only two, either could be wrong."""
    is_supported = {
        length: any(other is not length and length.agrees_with(other) for other in lengths) for length in lengths
    }
    return [length for length in lengths if not is_supported[length] and any(is_supported.values())]


def length_outliers(table: PaperTable) -> list[PrintedCell]:
    """Return the sequence-KL cells whose implied length breaks the agreement of the other teachers."""
    return [
        table.cell(column, "sequence_rkl", family=family, **{table.row_label: length.row})
        for (family, column), lengths in implied_lengths(table).items()
        for length in outliers(lengths)
    ]


def repeated_runs(table: PaperTable, metric: str) -> list[tuple[PrintedCell, PrintedCell]]:
    """Return cells of row pairs that are equal in two neighbouring columns: a row copied over another in its family.

    One equal number may be chance; two in a row, identical in every digit, are not.
    """
    by_row: dict[tuple[str, ...], list[PrintedCell]] = {}
    for cell in table.select(metric=metric):
        by_row.setdefault(tuple(cell.row.values()), []).append(cell)
    pairs: list[tuple[PrintedCell, PrintedCell]] = []
    for first, second in combinations(by_row.values(), 2):
        if first[0].row.get("family") != second[0].row.get("family"):
            continue
        by_column = {cell.column: cell for cell in second}
        twins = [by_column.get(cell.column) for cell in first]
        equal = [twin if twin and twin.value == cell.value else None for cell, twin in zip(first, twins)]
        for n, (cell, twin) in enumerate(zip(first, equal, strict=True)):
            neighbours = [*equal[max(0, n - 1) : n], *equal[n + 1 : n + 2]]
            if twin is not None and any(neighbour is not None for neighbour in neighbours):
                pairs.append((cell, twin))
    return pairs


def drifts(before: PaperTable, after: PaperTable) -> dict[tuple[str, str, str], float]:
    """Return (family, row, column) -> relative change in the same student's implied length between two tables."""
    reliable = {
        key: [length for length in lengths if length not in outliers(lengths)]
        for key, lengths in implied_lengths(before).items()
    }
    return {
        (family, length.row, column): length.value / reliable[family, column][0].value - 1
        for (family, column), lengths in implied_lengths(after).items()
        for length in lengths
    }


def impossible_rates(table: PaperTable) -> list[tuple[PrintedCell, PrintedCell]]:
    """Return pairs (majority or accuracy, pass rate) where the first exceeds the second by more than rounding.

    A correct majority requires a correct sample.
    """
    pairs = []
    for passed in table.select(metric="pass16"):
        for metric in ("acc", "maj16"):
            for cell in table.select(columns=(passed.column,), metric=metric, **passed.row):
                if cell.value - passed.value > cell.printed.half_unit + passed.printed.half_unit:
                    pairs.append((cell, passed))
    return pairs


def mean_weights(table: PaperTable) -> list[tuple[PrintedCell, float]]:
    """Return the mean importance weight implied by importance-weighted cells: E[w] = 1 + RKL - K3, ideally 1."""
    return [
        (cell, 1 + cell.value - table.cell(cell.column, "is_k3", **cell.row).value)
        for cell in table.select(metric="is_rkl")
    ]


def names(cells: Iterable[PrintedCell]) -> tuple[str, ...]:
    """Return the distinct cell names, in order."""
    return tuple(dict.fromkeys(cell.name for cell in cells))
