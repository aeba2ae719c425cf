"""Load the paper's printed tables and its claims: `load("table2")`, `load_claims("table2")`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from repro.errors import InputError
from repro.printed.claims import Claim, ClaimsFile
from repro.printed.files import file_error, paper_tables_folder, read_toml
from repro.printed.numbers import PrintedNumber, parse_cell
from repro.printed.schema import Column, Erratum, Legend, Metric, TableFile
from repro.recipes.studies import STUDIES

UNPRINTED = {name: entry.page_title for name, entry in STUDIES.items() if entry.page_title}
"""Study -> title, for studies without printed numbers: figures, and studies of our own."""


@dataclass(frozen=True)
class PrintedCell:
    """One printed number and its location in the paper.

    Attributes:
        row: row key -> value, e.g. {"family": "gemma3", "base": "Gemma-3-4B", "method": "Improve"}.
        block: the heading above it; cell_text: the printed cell, perhaps of several numbers.
        printed: text, value and half a unit of the last digit.
        definition: the metric's meaning, k, margin and policy; items: see `Column.items`.
        erratum: id of the stored erratum that covers it, else None.
    """

    table: str
    row: Mapping[str, str]
    column: str
    metric: str
    block: str
    cell_text: str
    printed: PrintedNumber
    definition: Metric
    items: int | None
    items_provenance: str | None
    provenance: str
    erratum: str | None

    @property
    def value(self) -> float:
        return self.printed.value

    @property
    def name(self) -> str:
        return f"{self.table} {' / '.join(self.row.values())}, {self.column}, {self.metric}"


@dataclass(frozen=True)
class PaperTable:
    """A stored table: every printed number, in printed order.

    Attributes:
        row_label: the row key that names a result's rows (Table 2: "method").
        untrained: labels of the rows that no training touched.
    """

    id: str
    title: str
    path: Path
    section: str = ""
    note: str = ""
    row_keys: tuple[str, ...] = ("row",)
    row_label: str = "row"
    untrained: frozenset[str] = frozenset()
    columns: Mapping[str, Column] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    cells: tuple[PrintedCell, ...] = ()
    errata: tuple[Erratum, ...] = ()

    def cell(self, column: str, metric: str, **row: str) -> PrintedCell:
        """Return the one cell that matches, e.g. `cell("BM4", "acc", family="qwen3", method="SFT")`."""
        matches = self.select(columns=(column,), metric=metric, **row)
        if len(matches) != 1:
            has = f"columns {list(self.columns)}, metrics {list(self.metrics)}, row keys {list(self.row_keys)}"
            raise InputError(
                f"{self.path.name}: {len(matches)} cells match row {row}, column {column!r}, metric "
                f"{metric!r}, "
                f"but exactly one must. It has {has}."
            )
        return matches[0]

    def select(
        self, columns: tuple[str, ...] | None = None, metric: str | None = None, **row: str
    ) -> list[PrintedCell]:
        """Return all cells that match, in printed order; possibly none."""
        return [
            cell
            for cell in self.cells
            if (columns is None or cell.column in columns)
            and (metric is None or cell.metric == metric)
            and all(cell.row.get(key) == value for key, value in row.items())
        ]

    @cached_property
    def metrics_of(self) -> Mapping[str, frozenset[str]]:
        """Column -> metrics printed anywhere in it."""
        return {c: frozenset(cell.metric for cell in self.cells if cell.column == c) for c in self.columns}

    def column_of(self, task: str) -> str | None:
        """Return the column that a run's task belongs to: of the same name, or listing it in `Column.tasks`."""
        return next((name for name, column in self.columns.items() if task in (name, *column.tasks)), None)

    def label(self, cell: PrintedCell) -> str:
        """Return the name of the cell's row in a result."""
        return cell.row[self.row_label]


def table_names(folder: Path | None = None) -> list[str]:
    """Return the stored tables: "table1" to "table7", and "figures" (numbers that the prose prints)."""
    names = {path.stem for path in (folder or paper_tables_folder()).glob("*.toml")} - {"legend", "claims"}
    return sorted(names, key=lambda name: (name == "figures", name))


def load(table: str, folder: Path | None = None) -> PaperTable:
    """Read one stored table; a study of which the paper prints no number has a title, all columns of the legend and no cell.

    Raises:
        InputError: the file is malformed; names file, line and key.
    """
    folder = folder or paper_tables_folder()
    path = folder / f"{table}.toml"
    names = dict.fromkeys((*table_names(folder), *STUDIES))
    if table not in names:
        raise InputError(f"no stored table {table!r}; there are {', '.join(names)}.")
    legend, _ = read_toml(folder / "legend.toml", Legend)
    if table in UNPRINTED:
        return PaperTable(id=table, title=UNPRINTED[table], path=path, columns=legend.columns)
    file, text = read_toml(path, TableFile)
    if file.id != table:
        raise file_error(path, text, ("id",), f"{file.id!r} must be {table!r}, the file's name")
    cells: list[PrintedCell] = []
    for number in range(len(file.blocks)):
        cells.extend(_cells_of(path, text, file, legend, number))
    seen: set[str] = set()
    for cell in cells:
        if cell.name in seen:
            raise file_error(path, text, ("blocks",), f"{cell.name} is listed twice")
        seen.add(cell.name)
    for number, erratum in enumerate(file.errata):
        if sum(cell.erratum == erratum.id for cell in cells) != len(erratum.columns) * len(erratum.metrics):
            raise file_error(path, text, ("errata", number), f"{erratum.id!r} does not cover the cells that it names")
    return PaperTable(
        id=file.id,
        title=file.title,
        section=file.section,
        note=file.note,
        row_keys=tuple(file.row_keys),
        row_label=file.row_label,
        untrained=frozenset(file.untrained),
        columns={cell.column: legend.columns[cell.column] for cell in cells},
        metrics={cell.metric: legend.metrics[cell.metric] for cell in cells},
        cells=tuple(cells),
        errata=tuple(file.errata),
        path=path,
    )


def load_claims(study: str | None = None, folder: Path | None = None) -> list[Claim]:
    """Return the claims that a study's run tests, in the paper's order; all of them for None."""
    path = (folder or paper_tables_folder()) / "claims.toml"
    file, text = read_toml(path, ClaimsFile)
    seen: set[str] = set()
    for number, claim in enumerate(file.claims):
        if claim.id in seen:
            raise file_error(path, text, ("claims", number, "id"), f"{claim.id!r} is used twice")
        seen.add(claim.id)
    chosen = [claim for claim in file.claims if study in (None, claim.study)]
    if not chosen:
        studies = sorted({claim.study for claim in file.claims})
        raise InputError(f"{path.name}: no claim of study {study!r}; there are claims of {', '.join(studies)}.")
    return chosen


def _cells_of(path: Path, text: str, file: TableFile, legend: Legend, number: int) -> Iterator[PrintedCell]:
    block = file.blocks[number]
    headers = [(column, group.metrics) for group in block.groups for column in group.columns]
    unknown = {column for column, _ in headers} - set(legend.columns)
    unknown |= {metric for _, metrics in headers for metric in metrics} - set(legend.metrics)
    if unknown:
        raise file_error(path, text, ("blocks", number, "groups"), f"{sorted(unknown)} are not in legend.toml")
    keys = file.row_keys
    for index, row in enumerate(block.rows):
        key_path = ("blocks", number, "rows", index)
        if len(row) != len(keys) + len(headers):
            expected = f"expected {len(keys)} keys and {len(headers)} cells"
            raise file_error(path, text, key_path, f"{len(row)} entries, {expected}")
        row_keys = dict(zip(keys, row, strict=False))
        for (column, metrics), cell_text in zip(headers, row[len(keys) :], strict=True):
            try:
                numbers = _numbers(cell_text, metrics, legend)
            except ValueError as cause:
                raise file_error(path, text, key_path, f"column {column}: {cause}") from None
            for metric, printed in zip(metrics, numbers, strict=True):
                yield PrintedCell(
                    table=file.id,
                    row=row_keys,
                    column=column,
                    metric=metric,
                    block=block.title,
                    cell_text=cell_text,
                    printed=printed,
                    definition=legend.metrics[metric],
                    items=legend.columns[column].items,
                    items_provenance=legend.columns[column].items_provenance,
                    provenance=file.provenance,
                    erratum=next((e.id for e in file.errata if _covers(e, row_keys, column, metric)), None),
                )


def _numbers(cell_text: str, metrics: list[str], legend: Legend) -> list[PrintedNumber]:
    numbers = parse_cell(cell_text)
    if len(numbers) != len(metrics):
        raise ValueError(f"{cell_text!r} holds {len(numbers)} numbers, expected {', '.join(metrics)}")
    for metric, printed in zip(metrics, numbers, strict=True):
        if legend.metrics[metric].unit in ("fraction", "score") and not 0 <= printed.value <= 1:
            raise ValueError(f"{metric} is {printed.text}, expected 0 to 1")
    return numbers


def _covers(erratum: Erratum, row: Mapping[str, str], column: str, metric: str) -> bool:
    is_same_row = all(row.get(key) == value for key, value in erratum.row.items())
    return is_same_row and column in erratum.columns and metric in erratum.metrics
