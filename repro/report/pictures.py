"""Figures that go two ways: onto the page, and into the result's folder `figures` as SVG, PNG and their data as CSV."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.report.blocks import Chart
from repro.report.drawing import INK, RULE, SERIES, chart, drawing
from repro.report.merge import Part
from repro.system.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = "figures"
_PRINT = {
    INK: "#1b1f24",
    RULE: "#d5dae0",
    **dict(
        zip(
            SERIES,
            ("#2f6fb5", "#d2842a", "#2b8c6b", "#b0467f", "#6f58b8", "#8a6d1d", "#3d8fa5", "#7a7f87"),
            strict=True,
        )
    ),
}
"""What the page's variables are in a file: its light colours."""


@dataclass(frozen=True)
class Picture:
    """A figure with its data. name: of its files; rows: a dict per drawn point; alt: what it shows, in words."""

    name: str
    title: str
    alt: str
    figure: "Figure"
    rows: Sequence[dict[str, Any]]


Draw = Callable[[Part], list[Picture]]


def on_page(draw: Draw) -> Callable[[Part, str], list[Chart]]:
    """The pictures as blocks of the page."""
    return lambda part, key: [chart(p.figure, f"{key}-{p.name}", p.title, p.alt) for p in draw(part)]


def write_pictures(draw: Draw, part: Part, folder: Path) -> list[Path]:
    """The pictures as files below `folder`/figures; each file whole or not at all."""
    written = []
    for picture in draw(part):
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        stem = folder / FIGURES / picture.name
        _recolour(picture.figure)
        for suffix in ("svg", "png"):
            path = stem.with_name(f"{stem.name}.{suffix}")
            with atomic_write(path) as aside, drawing():
                metadata = {"Date": None} if suffix == "svg" else None
                picture.figure.savefig(aside, format=suffix, dpi=150, facecolor="white", metadata=metadata)
            written.append(path)
        written.append(_write_csv(stem.with_name(f"{stem.name}.csv"), picture.rows))
    return written


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with atomic_write(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _recolour(figure: "Figure") -> None:
    """Every artist in a colour of the page's variables gets the colour that it stands for."""
    from matplotlib.colors import to_hex

    for artist in figure.findobj():
        for what in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            get, put = getattr(artist, f"get_{what}", None), getattr(artist, f"set_{what}", None)
            if get is None or put is None:
                continue
            try:
                held = get()
                found = [to_hex(one) for one in held] if _several(held) else [to_hex(held)]
            except (ValueError, TypeError):
                continue  # "none", "auto", or a mapped array: no colour of ours
            if found and set(found) & set(_PRINT):
                put(_PRINT.get(found[0], found[0]) if len(found) == 1 else [_PRINT.get(one, one) for one in found])


def _several(colour: Any) -> bool:
    return hasattr(colour, "ndim") and colour.ndim == 2
