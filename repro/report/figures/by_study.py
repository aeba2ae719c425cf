"""The figures of each study: those of every study first, then its own."""

from collections.abc import Callable
from pathlib import Path

from repro.report.blocks import Chart
from repro.report.figures.bars import bars
from repro.report.figures.cost import stage_costs
from repro.report.figures.eta_sweep import eta_curves
from repro.report.figures.export import StudyFigure, inline_chart, save_figure
from repro.report.figures.failure_modes import failure_modes
from repro.report.figures.figure1a import figure1a
from repro.report.figures.figure2 import correlations
from repro.report.figures.figure3 import figure3
from repro.report.figures.figure4 import figure4
from repro.report.figures.style import FILE, PAGE, Palette
from repro.report.figures.training_curves import training_curves
from repro.report.merge import Part

Draw = Callable[[Part, Palette], list[StudyFigure]]

EVERY_STUDY: tuple[Draw, ...] = (bars, training_curves)
EXPORTED: dict[str, Draw] = {
    "table5": stage_costs,
    "figure1a": figure1a,
    "figure3": figure3,
    "figure4": figure4,
    "failure-modes": failure_modes,
}
"""Figures that are written as files too."""
STUDY_FIGURES: dict[str, Draw] = {"figure2": correlations, "eta-sweep": eta_curves, **EXPORTED}


def study_figures(part: Part, key: str) -> list[Chart]:
    """Draw all figures of a part for the page. key: prefix of their ids."""
    own = STUDY_FIGURES.get(part.report.study)
    draws = (*EVERY_STUDY, own) if own else EVERY_STUDY
    return [inline_chart(drawn, key) for draw in draws for drawn in draw(part, PAGE)]


def write_figures(part: Part, folder: Path) -> list[Path]:
    """Write a study's own figures below `folder`/figures; nothing for most studies."""
    draw = EXPORTED.get(part.report.study)
    return [path for drawn in draw(part, FILE) for path in save_figure(drawn, folder)] if draw else []
