"""Evaluations side by side, their differences to the first, and the trainings behind them."""

import textwrap
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from repro.report.evaluations import EvaluationComparison
from repro.report.figures.export import Plot
from repro.report.figures.style import MARKS, WIDTH, Palette, drawing, panels
from repro.report.result import Curve
from repro.tables.metric_names import metric_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 34
"""Characters per line of a model's label at the axis; the page's table has the full label."""


_LOGGED = {
    "task_reward": "task reward",
    "r_cal": "r_cal (nats)",
    "accuracy": "accuracy in training",
    "token_accuracy": "teacher's tokens ranked first, share",
    "loss": "loss",
    "kl": "KL to the uncalibrated teacher (nats per token)",
    "length": "completion length (tokens)",
}


def scores_plot(comparison: EvaluationComparison, palette: Palette) -> Plot:
    """Draw a row of panels per task: each evaluation with its 95 % interval and chance, and its difference to the first."""
    named = comparison.named
    labels = [_wrap(f"{letter}: {label}") for letter, label, _ in named]
    spoken, data = [], []
    with drawing(palette):
        tasks = list(comparison.differences)
        figure, axes = panels(2, len(tasks), WIDTH / 2, 0.8 + 0.42 * len(named), sharey=True)
        for task, (left, right) in zip(tasks, zip(axes[::2], axes[1::2])):
            scores = [evaluation.scores.get(task) for _, _, evaluation in named]
            known = next(score for score in scores if score is not None)
            differences = [None, *comparison.differences[task]]
            for row, ((letter, label, _), score, difference) in enumerate(zip(named, scores, differences)):
                line: dict[str, Any] = {"task": task, "evaluation": letter, "model": label}
                colour = palette.series[0 if row == 0 else 1]
                if score is not None:
                    _draw_interval(left, row, score.value, score.interval, colour)
                    low, high = score.interval or (None, None)
                    line |= {"value": score.value, "low": low, "high": high}
                    spoken.append(f"{task}, {letter} {score.value:.3f}")
                if difference is not None and difference.difference is not None:
                    _draw_interval(right, row, difference.difference, difference.interval, colour)
                    low, high = difference.interval or (None, None)
                    line |= {"difference": difference.difference, "difference_low": low, "difference_high": high}
                    spoken.append(f"{letter} - A {difference.difference:+.3f}")
                data.append(line)
            if known.chance is not None:
                left.axvline(known.chance.score, color=palette.ink, linestyle=":", linewidth=1.2)
            right.axvline(0, color=palette.ink, linestyle=":", linewidth=1.2)
            chance = f"; dotted: {known.chance.describe()}" if known.chance else ""
            left.set_title(f"{task}{chance}")
            left.set_xlabel(metric_name(known.metric))
            right.set_title("difference to A, paired by item")
            right.set_xlabel(f"{metric_name(known.metric)}, less that of A")
            left.set_yticks(range(len(named)), labels, fontsize=9)
            left.set_ylim(len(named) - 0.5, -0.5)
            for panel in (left, right):
                panel.grid(axis="y", visible=False)
                panel.locator_params(axis="x", nbins=5)
    note = (
        "Dots are means, bars 95 % intervals. A difference is shown where its bar does not reach the dotted line at 0."
    )
    return Plot("evaluations", "Scores, and differences to the first", f"{'; '.join(spoken)}.", figure, data, note)


def training_plot(curves: Sequence[Curve], title: str, name: str, palette: Palette) -> Plot:
    """Draw training logs: a panel per metric, a line per training run."""
    metrics = [metric for metric in _LOGGED if any(metric in curve["figures"] for curve in curves)]
    ends = []
    with drawing(palette):
        figure, axes = panels(2, ceil(len(metrics) / 2), WIDTH / 2, 2.3, n=len(metrics))
        for metric, panel in zip(metrics, axes):
            for n, curve in enumerate(curves):
                values = zip(curve["steps"], curve["figures"].get(metric, []))
                points = [(step, value) for step, value in values if value is not None]
                if points:
                    mark, line = MARKS[n % len(MARKS)]
                    colour = palette.series[n % len(palette.series)]
                    style: dict[str, Any] = {"color": colour, "marker": mark, "linestyle": line, "markersize": 5}
                    panel.plot(*zip(*points), **style, markevery=max(1, len(points) // 5), label=curve["method"])
                    ends.append(f"{curve['method']} {_LOGGED[metric]} ends at {points[-1][1]:.3g}")
            panel.set_title(_LOGGED[metric])
            panel.set_xlabel("optimiser step")
            panel.locator_params(axis="x", integer=True)
        lines = {str(line.get_label()): line for panel in axes for line in panel.get_lines()}
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.2 * len(lines))  # the panels keep their height
        figure.legend(list(lines.values()), list(lines), loc="outside upper left", fontsize=9)
    return Plot(name, title, f"{'; '.join(ends)}.", figure)


def _draw_interval(axes: "Axes", row: int, value: float, interval: tuple[float, float] | None, colour: str) -> None:
    if interval is not None:
        axes.plot(interval, (row, row), color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot([value], [row], color=colour, marker="o", markersize=6)


def _wrap(label: str) -> str:
    """Break a long label into two lines at most."""
    first, *others = textwrap.wrap(label, _LINE)
    return "\n".join([first, textwrap.shorten(" ".join(others), _LINE, placeholder=" ...")] if others else [first])
