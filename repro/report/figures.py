"""The pictures of a part: verdicts with their intervals, bars of every row, learning curves, cost against Table 5."""

from collections.abc import Callable, Iterable, Mapping
from math import ceil

from repro.report.blocks import Chart
from repro.report.drawing import INK, SERIES, TONES, chart, drawing, panels
from repro.report.merge import Part
from repro.report.result import Curve
from repro.tables.decision import half_width
from repro.tables.measured import MeasuredTable
from repro.tables.outcome import VerdictReport
from repro.tables.render import main_metric
from repro.tables.resampling import Resamples

Draw = Callable[[Part, str], list[Chart]]
_MARKS = {"reproduced": "o", "contradicted": "X", "inconclusive": "D"}
_CALIBRATION = {
    "task_reward": "task reward of the rollouts",
    "r_cal": "r_cal (nats)",
    "kl": "KL to the uncalibrated teacher (nats)",
    "length": "completion length (tokens)",
}
_DISTILLATION = {"accuracy": "accuracy in training", "length": "completion length in training (tokens)"}


def study_figures(part: Part, key: str) -> list[Chart]:
    """The figures that a study has of its own, beside the verdicts' and the costs', which every study has."""
    return [figure for draw in STUDY_FIGURES.get(part.report.study, ()) for figure in draw(part, key)]


def forest(report: VerdictReport, key: str) -> Chart | None:
    """Every tested claim's estimate and interval, and the edge that it must clear."""
    tested = [v for v in report.claims if v.estimate is not None and v.interval is not None]
    if not tested:
        return None
    several = len(report.families) > 1
    with drawing():
        figure, (axes,) = panels(1, 1, 7.6, 0.9 + 0.3 * len(tested))
        for n, v in enumerate(tested):
            assert v.interval is not None
            colour = TONES[v.value]
            axes.plot(v.interval, (n, n), color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([v.estimate], [n], marker=_MARKS[v.value], color=colour, markersize=7)
            edges = [edge for edge in v.region if edge is not None]
            axes.plot(
                edges,
                [n] * len(edges),
                linestyle="",
                marker="|",
                color=INK,
                markersize=15,
                markeredgewidth=1.2,
                zorder=1,
            )
        for value, mark in _MARKS.items():
            axes.plot([], [], color=TONES[value], marker=mark, markersize=7, linewidth=2, label=value)
        axes.plot([], [], linestyle="", marker="|", color=INK, markersize=11, label="edge of what the claim allows")
        axes.set_yticks(range(len(tested)), [f"{v.claim} ({v.family})" if several else v.claim for v in tested])
        axes.set_ylim(len(tested) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("difference or mean, with the interval that decides")
        figure.legend(loc="outside upper left", ncols=4, fontsize=9, handletextpad=0.4, columnspacing=1.2)
    counts = ", ".join(f"{report.count(value)} {value}" for value in ("reproduced", "contradicted", "inconclusive"))
    return chart(figure, f"{key}-forest", "Claims with their intervals", f"{counts}. The table beside has the numbers.")


def bars(part: Part, key: str) -> list[Chart]:
    """One panel per task, one bar per row: accuracy or reward with its 95 % interval (Figure 3's kind)."""
    return [_bars(part, table, f"{key}-bars-{n}") for n, table in enumerate(part.measured)]


def _bars(part: Part, table: MeasuredTable, key: str) -> Chart:
    keys = {
        (row, task): (row, task, main_metric(table, task))
        for task in table.tasks
        for row in table.rows
        if table.has(row, task, main_metric(table, task))
    }
    draws = Resamples(table, keys.values(), 2_000, 0)
    columns = min(4, len(table.tasks))
    with drawing():
        figure, axes = panels(
            columns, ceil(len(table.tasks) / columns), 7.6 / columns + 0.6, 1 + 0.24 * len(table.rows), sharey=True
        )
        for task, own in zip(table.tasks, axes):
            for n, row in enumerate(table.rows):
                if (row, task) in keys:
                    estimate = draws.estimate({keys[row, task]: 1.0})
                    colour = SERIES[0] if table.rows.index(row) < _teachers(table) else SERIES[1]
                    own.barh(n, estimate.value, height=0.66, color=colour)
                    half = half_width(estimate, 0.05)
                    own.plot([estimate.value - half, estimate.value + half], (n, n), color=INK, linewidth=1.4)
            own.set_title(f"{task} ({main_metric(table, task)})")
            own.set_yticks(range(len(table.rows)), table.rows)
            own.set_ylim(len(table.rows) - 0.4, -0.6)
            own.set_xlim(left=0)
            own.grid(axis="y", visible=False)
        for spare in axes[len(table.tasks) :]:
            spare.remove()
    best = "; ".join(
        f"{task}: "
        + ", ".join(f"{row} {table.mean(*keys[row, task]):.2f}" for row in table.rows if (row, task) in keys)
        for task in table.tasks
    )
    title = f"Teachers (above) and students by task, {table.family}"
    return chart(figure, key, title, f"Bars with 95 % intervals. {best}.")


def _teachers(table: MeasuredTable) -> int:
    """How many rows come before the untouched student: the teachers."""
    return table.rows.index("Student") if "Student" in table.rows else 0


def learning_curves(part: Part, key: str) -> list[Chart]:
    """Figures of the completions that trainings drew: calibrations and on-policy distillations, seeds averaged."""
    charts = []
    logged = [curve for source in part.sources for curve in source.content["curves"]]
    for n, table in enumerate(part.measured):
        own = [c for c in logged if c["family"] == table.family and {"accuracy", "r_cal"} & set(c["figures"])]
        for stage, panels_of, what in (
            ("distill", _DISTILLATION, "On-policy students in training"),
            ("calibrate", _CALIBRATION, "Teachers in calibration"),
        ):
            made = _curves(
                [c for c in own if c["stage"] == stage], panels_of, f"{key}-{stage}-{n}", f"{what}, {table.family}"
            )
            charts += [made] if made else []
    return charts


def _curves(curves: list[Curve], names: Mapping[str, str], key: str, title: str) -> Chart | None:
    shown = {name: label for name, label in names.items() if any(name in curve["figures"] for curve in curves)}
    if not shown:
        return None
    methods = list(dict.fromkeys(curve["method"] for curve in curves))
    ends = []
    with drawing():
        columns = min(2, len(shown))
        figure, axes = panels(columns, ceil(len(shown) / columns), 7.6 / columns, 2.6)
        for (name, label), own in zip(shown.items(), axes):
            for n, method in enumerate(methods):
                runs = [c for c in curves if c["method"] == method and name in c["figures"]]
                if runs:
                    steps, values = _mean_curve(runs, name)
                    own.plot(
                        steps,
                        values,
                        color=SERIES[n % len(SERIES)],
                        linewidth=1.8,
                        linestyle=("-", "--")[n // len(SERIES) % 2],
                        label=method,
                    )
                    ends.append(f"{method} {label} ends at {values[-1]:.3g}")
            own.set_title(label)
            own.set_xlabel("optimiser step")
        for spare in axes[len(shown) :]:
            spare.remove()
        handles = {line.get_label(): line for own in axes for line in own.get_lines()}
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper left", ncols=min(4, len(handles)), fontsize=9
        )
    return chart(figure, key, title, "; ".join(ends) + ".")


def _mean_curve(runs: list[Curve], name: str) -> tuple[list[int], list[float]]:
    """Mean over seeds at the steps of the first; a step without the figure is left out."""
    by_step: dict[int, list[float]] = {}
    for run in runs:
        for step, value in zip(run["steps"], run["figures"][name]):
            if value is not None:
                by_step.setdefault(step, []).append(value)
    steps = [step for step in sorted(by_step) if len(by_step[step]) == max(map(len, by_step.values()))]
    return steps, [sum(by_step[step]) / len(by_step[step]) for step in steps]


def cost_shares(measured: Mapping[str, float], printed: Mapping[str, float], key: str) -> Chart:
    """Shares of a pipeline's time, one stage of each kind: ours beside Table 5's. Values in any one unit each."""
    names = list(measured)
    with drawing():
        figure, (axes,) = panels(1, 1, 7.6, 0.9 + 0.42 * len(names))
        for offset, label, values, colour in (
            (-0.19, "measured", measured, SERIES[0]),
            (0.19, "Table 5", printed, SERIES[1]),
        ):
            total = sum(values[name] for name in names)
            shares = [100 * values[name] / total for name in names]
            axes.barh([n + offset for n in range(len(names))], shares, height=0.36, color=colour, label=label)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of the five stages' time, %")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    return chart(
        figure, f"{key}-shares", "Cost of a stage of each kind against Table 5", _share_words(measured, printed)
    )


def _share_words(measured: Mapping[str, float], printed: Mapping[str, float]) -> str:
    def share(values: Mapping[str, float], name: str, names: Iterable[str]) -> float:
        return 100 * values[name] / sum(values[n] for n in names)

    return (
        "; ".join(
            f"{n}: {share(measured, n, measured):.0f} % here, {share(printed, n, measured):.0f} % in Table 5"
            for n in measured
        )
        + "."
    )


STUDY_FIGURES: dict[str, tuple[Draw, ...]] = {"table2": (bars, learning_curves)}
"""Study -> what draws its figures. A study that is not here has the figures that every study has."""
