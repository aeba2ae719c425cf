"""The one loader of what the paper printed: `load("table2")`, `load_claims("table2")`.

The files stand in `paper_tables/` of a checkout, or inside the installed package. A malformed file is refused with its
name, line and key.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from repro.errors import InputError
from repro.tables.claims import Claim, ClaimsFile
from repro.tables.printed import Printed, parse_cell
from repro.tables.schema import Block, Column, Erratum, Legend, Metric, Strict, TableFile

TABLES = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "figures")

_File = TypeVar("_File", bound=Strict)


@dataclass(frozen=True)
class Cell:
    """One printed number with its place.

    Attributes:
        row: row key -> value, e.g. {"family": "gemma3", "base": "Gemma-3-4B", "method": "Improve"}.
        block: the heading that it stands under; cell_text: the whole printed cell, which may hold several numbers.
        printed: text, value and half a unit of the last digit.
        definition: what the metric is, its k, margin and policy; items: see `Column.items`.
        erratum: id of the stored erratum that covers it, else None.
    """

    table: str
    row: Mapping[str, str]
    column: str
    metric: str
    block: str
    cell_text: str
    printed: Printed
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
    """A stored table: every printed cell, in printed order."""

    id: str
    title: str
    section: str
    note: str
    row_keys: tuple[str, ...]
    row_label: str
    untrained: frozenset[str]
    columns: Mapping[str, Column]
    metrics: Mapping[str, Metric]
    cells: tuple[Cell, ...]
    errata: tuple[Erratum, ...]
    path: Path

    def cell(self, column: str, metric: str, **row: str) -> Cell:
        """The one cell of that column and metric whose row keys match, e.g. `cell("BM4", "acc", family="qwen3", method="SFT")`."""
        found = self.select(columns=(column,), metric=metric, **row)
        if len(found) != 1:
            what = f"{row}, column {column!r}, metric {metric!r}"
            hint = f"columns {sorted(self.columns)}, metrics {sorted(self.metrics)}, row keys {list(self.row_keys)}"
            raise InputError(
                f"{self.path.name}: {len(found)} cells match {what}, one is needed. It has {hint}."
            )
        return found[0]

    def select(
        self, columns: tuple[str, ...] | None = None, metric: str | None = None, **row: str
    ) -> list[Cell]:
        """All cells that match, in printed order; possibly none."""
        return [
            cell
            for cell in self.cells
            if (columns is None or cell.column in columns)
            and (metric is None or cell.metric == metric)
            and all(cell.row.get(key) == value for key, value in row.items())
        ]

    @cached_property
    def rows(self) -> list[Mapping[str, str]]:
        """Distinct rows in printed order."""
        return list({tuple(cell.row.values()): cell.row for cell in self.cells}.values())

    def label(self, cell: Cell) -> str:
        """The name by which a result's row goes."""
        return cell.row[self.row_label]


def paper_tables_folder() -> Path:
    """`paper_tables/` beside the package in a checkout, else the copy that the installed package carries."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "paper_tables", package / "_paper_tables"):
        if (folder / "legend.toml").is_file():
            return folder
    raise InputError(
        f"paper_tables is neither in {package.parent} nor in {package}: reinstall the package or use a checkout."
    )


def load(table: str, folder: Path | None = None) -> PaperTable:
    """Read one stored table: "table1" to "table7", or "figures" (numbers that the prose prints)."""
    if table not in TABLES:
        raise InputError(f"no stored table {table!r}; there are {', '.join(TABLES)}.")
    folder = folder or paper_tables_folder()
    legend, _ = _read(folder / "legend.toml", Legend)
    path = folder / f"{table}.toml"
    file, text = _read(path, TableFile)
    if file.id != table:
        raise InputError(
            f"{path.name}, line {_line(text, ('id',))}, key id: {file.id!r} must be {table!r}, the file's name."
        )
    cells: list[Cell] = []
    for number, block in enumerate(file.blocks):
        cells.extend(_cells_of(path, text, file, legend, block, number))
    _refuse_repeats(path, cells)
    for number, erratum in enumerate(file.errata):
        covered = [c for c in cells if c.erratum == erratum.id]
        if len(covered) != len(erratum.columns) * len(erratum.metrics):
            line = _line(text, ("errata", number))
            raise InputError(
                f"{path.name}, line {line}, key errata[{number}]: {erratum.id!r} does not cover the cells that it names."
            )
    used_columns = {cell.column: legend.columns[cell.column] for cell in cells}
    used_metrics = {cell.metric: legend.metrics[cell.metric] for cell in cells}
    return PaperTable(
        id=file.id,
        title=file.title,
        section=file.section,
        note=file.note,
        row_keys=tuple(file.row_keys),
        row_label=file.row_label,
        untrained=frozenset(file.untrained),
        columns=used_columns,
        metrics=used_metrics,
        cells=tuple(cells),
        errata=tuple(file.errata),
        path=path,
    )


def load_claims(study: str | None = None, folder: Path | None = None) -> list[Claim]:
    """The claims that a study's run tests, in the paper's order; all of them for None."""
    path = (folder or paper_tables_folder()) / "claims.toml"
    file, text = _read(path, ClaimsFile)
    seen: set[str] = set()
    for number, claim in enumerate(file.claims):
        if claim.id in seen:
            line = _line(text, ("claims", number, "id"))
            raise InputError(
                f"{path.name}, line {line}, key claims[{number}].id: {claim.id!r} is there twice."
            )
        seen.add(claim.id)
    chosen = [claim for claim in file.claims if study in (None, claim.study)]
    if not chosen:
        raise InputError(
            f"{path.name}: no claim of study {study!r}; there are {sorted({c.study for c in file.claims})}."
        )
    return chosen


def _cells_of(
    path: Path, text: str, file: TableFile, legend: Legend, block: Block, number: int
) -> Iterator[Cell]:
    places = [(column, group.metrics) for group in block.groups for column in group.columns]
    for column, metrics in places:
        unknown = [w for w in (column, *metrics) if w not in legend.columns and w not in legend.metrics]
        if unknown:
            line = _line(text, ("blocks", number, "groups"))
            raise InputError(
                f"{path.name}, line {line}, key blocks[{number}].groups: {unknown} are not in legend.toml."
            )
    keys = file.row_keys
    for index, row in enumerate(block.rows):
        at = f"{path.name}, line {_line(text, ('blocks', number, 'rows', index))}, key blocks[{number}].rows[{index}]"
        if len(row) != len(keys) + len(places):
            raise InputError(f"{at}: {len(row)} entries, expected {len(keys)} keys and {len(places)} cells.")
        row_keys = dict(zip(keys, row, strict=False))
        for (column, metrics), cell_text in zip(places, row[len(keys) :], strict=True):
            try:
                numbers = parse_cell(cell_text)
            except ValueError as cause:
                raise InputError(f"{at}, column {column}: {cause}.") from None
            if len(numbers) != len(metrics):
                raise InputError(
                    f"{at}, column {column}: {cell_text!r} holds {len(numbers)} numbers, expected {metrics}."
                )
            for metric, printed in zip(metrics, numbers, strict=True):
                definition = legend.metrics[metric]
                if definition.unit in ("fraction", "score") and not 0 <= printed.value <= 1:
                    raise InputError(f"{at}, column {column}: {metric} is {printed.text}, expected 0 to 1.")
                covering = [e.id for e in file.errata if _covers(e, row_keys, column, metric)]
                yield Cell(
                    table=file.id,
                    row=row_keys,
                    column=column,
                    metric=metric,
                    block=block.title,
                    cell_text=cell_text,
                    printed=printed,
                    definition=definition,
                    items=legend.columns[column].items,
                    items_provenance=legend.columns[column].items_provenance,
                    provenance=file.provenance,
                    erratum=covering[0] if covering else None,
                )


def _covers(erratum: Erratum, row: Mapping[str, str], column: str, metric: str) -> bool:
    same_row = all(row.get(key) == value for key, value in erratum.row.items())
    return same_row and column in erratum.columns and metric in erratum.metrics


def _refuse_repeats(path: Path, cells: list[Cell]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for cell in cells:
        place = (*cell.row.values(), cell.column, cell.metric)
        if place in seen:
            raise InputError(f"{path.name}, key rows: {cell.name} is there twice.")
        seen.add(place)


def _read(path: Path, shape: type[_File]) -> tuple[_File, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({cause}).") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise InputError(f"{path.name}: not TOML: {cause}.") from None  # the message carries line and column
    try:
        # JSON mode: TOML has arrays where the shapes have tuples, which strict Python mode would refuse.
        return shape.model_validate(content, strict=False), text
    except ValidationError as cause:
        first = cause.errors()[0]
        place = first["loc"]
        key = (
            "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
            or "(file)"
        )
        raise InputError(
            f"{path.name}, line {_line(text, place)}, key {key}: {first['msg']} (got {_short(first['input'])})."
        ) from None


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _line(text: str, place: tuple[int | str, ...]) -> int:
    """Line (from 1) of a key path in TOML text, as near as the text allows: the last part of the path that it finds.

    Enough for these files: `[[name]]` blocks, `[a.b]` tables, `key =`, and arrays with one element per line.
    """
    lines = text.splitlines()
    at, stop, parts = 0, len(lines), list(place)
    while parts:
        part = parts.pop(0)
        following = parts[0] if parts else None
        if isinstance(part, int):
            elements = [n for n in range(at + 1, stop) if lines[n].lstrip().startswith(("[", "{"))]
            at = elements[part] if part < len(elements) else at
            continue
        if isinstance(following, int):
            heads = [n for n, line in enumerate(lines) if line.strip() == f"[[{part}]]"]
            if following < len(heads):
                at = heads[following]
                parts.pop(0)
                stop = next((n for n in heads if n > at), len(lines))
                continue
        if isinstance(following, str):
            table = f"[{part}.{following}]"
            found = next((n for n in range(at, stop) if lines[n].strip() == table), None)
            if found is not None:
                parts.pop(0)
                at = found
                stop = next((n for n in range(at + 1, stop) if lines[n].startswith("[")), stop)
                continue
        word = re.compile(rf"(^|[{{,\s]){re.escape(part)}\s*=")
        at = next((n for n in range(at, stop) if word.search(lines[n])), at)
    return at + 1
