"""Arithmetic that printed numbers must obey, and what they show where they do not.

Nothing here reads the stored errata: they are found from the numbers, and compared with what is stored by
`check`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from repro.tables.paper.load import PaperTable, PrintedCell


@dataclass(frozen=True)
class Length:
    """Mean completion length, in tokens, that two printed KLs imply; low and high: what rounding allows."""

    row: str
    value: float
    low: float
    high: float

    def meets(self, other: "Length") -> bool:
        return max(self.low, other.low) <= min(self.high, other.high)


def implied_lengths(table: PaperTable) -> dict[tuple[str, str], list[Length]]:
    """(family, column) -> one length per row.

    Sequence KL is per sequence and token KL per token, so their ratio is the mean length of what was sampled:
    the student's own completions, and so the same for every teacher.
    """
    found: dict[tuple[str, str], list[Length]] = {}
    for cell in table.select(metric="sequence_rkl"):
        s, t = cell.printed, table.cell(cell.column, "token_rkl", **cell.row).printed
        low, high = (
            (s.value - s.half_unit) / (t.value + t.half_unit),
            (s.value + s.half_unit) / (t.value - t.half_unit),
        )
        length = Length(table.label(cell), s.value / t.value, low, high)
        found.setdefault((cell.row["family"], cell.column), []).append(length)
    return found


def outliers(lengths: list[Length]) -> list[Length]:
    """Lengths that meet no other's, where some others agree: of two alone nobody can say which is wrong."""
    friends = {
        length: [other for other in lengths if other is not length and length.meets(other)] for length in lengths
    }
    return [length for length in lengths if not friends[length] and any(friends.values())]


def length_outliers(table: PaperTable) -> list[PrintedCell]:
    """Sequence-KL cells whose implied length breaks the agreement of the other teachers."""
    return [
        table.cell(column, "sequence_rkl", family=family, **{table.row_label: length.row})
        for (family, column), lengths in implied_lengths(table).items()
        for length in outliers(lengths)
    ]


def repeated_runs(table: PaperTable, metric: str) -> list[tuple[PrintedCell, PrintedCell]]:
    """Pairs of rows' cells that agree in two neighbouring columns: one row copied over another of its family.

    One equal number is chance; two in a row, with every digit the same, are not.
    """
    by_row: dict[tuple[str, ...], list[PrintedCell]] = {}
    for cell in table.select(metric=metric):
        by_row.setdefault(tuple(cell.row.values()), []).append(cell)
    pairs: list[tuple[PrintedCell, PrintedCell]] = []
    for first, second in combinations(by_row.values(), 2):
        if first[0].row.get("family") != second[0].row.get("family"):
            continue
        columns = {cell.column: cell for cell in second}
        same = [
            columns[c.column] if c.column in columns and columns[c.column].value == c.value else None for c in first
        ]
        for n, (cell, twin) in enumerate(zip(first, same, strict=True)):
            neighbours = [*same[max(0, n - 1) : n], *same[n + 1 : n + 2]]
            if twin is not None and any(other is not None for other in neighbours):
                pairs.append((cell, twin))
    return pairs


def drifts(before: PaperTable, after: PaperTable) -> dict[tuple[str, str, str], float]:
    """(family, row, column) -> relative change of the same student's implied length between two tables."""
    first = {place: [x for x in found if x not in outliers(found)] for place, found in implied_lengths(before).items()}
    return {
        (family, length.row, column): length.value / first[family, column][0].value - 1
        for (family, column), found in implied_lengths(after).items()
        for length in found
    }


def impossible_rates(table: PaperTable) -> list[tuple[PrintedCell, PrintedCell]]:
    """(majority or accuracy, pass) where the first is above the second by more than rounding: a right
    majority needs a right sample."""
    found = []
    for passed in table.select(metric="pass16"):
        for metric in ("acc", "maj16"):
            for cell in table.select(columns=(passed.column,), metric=metric, **passed.row):
                if cell.value - passed.value > cell.printed.half_unit + passed.printed.half_unit:
                    found.append((cell, passed))
    return found


def mean_weights(table: PaperTable) -> list[tuple[PrintedCell, float]]:
    """Mean importance weight that importance-weighted cells imply: E[w] = 1 + RKL - K3, where 1 is due."""
    return [
        (cell, 1 + cell.value - table.cell(cell.column, "is_k3", **cell.row).value)
        for cell in table.select(metric="is_rkl")
    ]


def names(cells: Iterable[PrintedCell]) -> tuple[str, ...]:
    """Distinct cell names, in order."""
    return tuple(dict.fromkeys(cell.name for cell in cells))
