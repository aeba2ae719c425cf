"""The figures of each study: first the common ones, then its own."""

from collections.abc import Callable
from pathlib import Path

from repro.recipes.studies import STUDIES, resolve
from repro.recipes.study import Study
from repro.report.blocks import Chart
from repro.report.figures.bars import bars
from repro.report.figures.eta_sweep import eta_curves
from repro.report.figures.export import Plot, inline_chart, save_figure
from repro.report.figures.style import FILE, PAGE, Palette
from repro.report.figures.training_curves import training_curves
from repro.report.merge import Part

Draw = Callable[[Part, Palette], list[Plot]]
EVERY_STUDY: tuple[Draw, ...] = (bars, training_curves, eta_curves)


def study_figures(part: Part, key: str) -> list[Chart]:
    """Draw all figures of a part for the page. key: prefix of their ids."""
    figures = STUDIES[part.report.study].figures
    draws: tuple[Draw, ...] = (*EVERY_STUDY, *([resolve(figures)] if figures else []))
    return [inline_chart(plot, key) for draw in draws for plot in draw(part, PAGE)]


def export_figures(study: Study, part: Part, cache: Path, folder: Path) -> list[Path]:
    """Write a study's own figures below `folder`/figures."""
    draw = resolve(STUDIES[study.name].figures)
    return [path for plot in draw(part, FILE) for path in save_figure(plot, folder)]
