"""Training curves: per-step statistics of the completions sampled in training."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from repro.report.figures.export import Plot
from repro.report.figures.knob import line_style
from repro.report.figures.style import WIDTH, Palette, drawing, panels
from repro.report.matrix import matrix_of
from repro.report.merge import Part
from repro.report.result import Curve

_CALIBRATION = {
    "task_reward": "task reward of the rollouts",
    "r_cal": "r_cal (nats)",
    "kl": "KL to the uncalibrated teacher (nats per token)",
    "length": "completion length (tokens)",
}
NOTE = (
    "Means over seeds. A colour stands for a position of the knob: eta above, at or below 0, or untouched; marks tell lines of one"
    " colour apart. Teachers are solid, students dashed."
)
NOTE_BESIDE_GUARDS = (
    "Means over seeds. A colour stands for a position of the knob: eta below 0 (the guards knob and knob-per-token), or untouched; marks tell"
    " lines of one colour apart. Teachers are solid, students dashed."
)
PER_TOKEN_NOTE = " r_cal: nats per completion, but nats per token for lines whose name says so: do not compare the two."
FURTHER_MARKS = ("o", "D", "P", "X", "*", "<", ">", "h")
_ENTRY = 50
"""Width in points of a legend entry besides its text (about 5 per character)."""
_DISTILLATION = {"accuracy": "accuracy in training", "length": "completion length in training (tokens)"}


def training_curves(part: Part, palette: Palette) -> list[Plot]:
    """Draw what calibrations and on-policy distillations logged, averaged over seeds."""
    figures = []
    note = NOTE if matrix_of(part) is None else NOTE_BESIDE_GUARDS
    logged = [curve for source in part.sources for curve in source.content["curves"]]
    for n, table in enumerate(part.measured):
        of_family = [c for c in logged if c["family"] == table.family and {"accuracy", "r_cal"} & set(c["figures"])]
        for stage, metrics, title in (
            ("distill", _DISTILLATION, f"On-policy students in training, {table.family}"),
            ("calibrate", _CALIBRATION, f"Teachers in calibration, {table.family}"),
        ):
            curves = [c for c in of_family if c["stage"] == stage]
            labels = {name: label for name, label in metrics.items() if any(name in c["figures"] for c in curves)}
            if labels:
                units = {_is_per_token(curve["method"]) for curve in curves if "r_cal" in curve["figures"]}
                words = f"{note}{PER_TOKEN_NOTE}" if len(units) == 2 else note
                if stage == "calibrate":
                    words += _describe_left_out(logged, curves, table.family)
                figures.append(_curves(curves, labels, palette, f"{stage}-{n}", title, words))
    return figures


def _describe_left_out(logged: Sequence[Curve], drawn: Sequence[Curve], family: str) -> str:
    """Name the calibrations that log no r_cal, because another reward replaces it; empty if there are none."""
    methods = {curve["method"] for curve in drawn}
    left_out = [c["method"] for c in logged if c["family"] == family and c["stage"] == "calibrate"]
    names = [method for method in dict.fromkeys(left_out) if method not in methods]
    return f" Not drawn, since another reward replaces r_cal: {', '.join(names)}." if names else ""


def _is_per_token(method: str) -> bool:
    """Return True for a row whose r_cal is divided by lengths: the control, or the guard."""
    return "per token" in method.replace("-", " ")


def _curves(curves: list[Curve], labels: Mapping[str, str], palette: Palette, name: str, title: str, note: str) -> Plot:
    methods = list(dict.fromkeys(curve["method"] for curve in curves))
    styles = _styles(methods, palette)
    ends = []
    with drawing(palette):
        columns = min(2, len(labels))
        figure, axes = panels(columns, ceil(len(labels) / columns), WIDTH / columns, 2.6, n=len(labels))
        for (metric, label), axis in zip(labels.items(), axes):
            for method in methods:
                runs = [c for c in curves if c["method"] == method and metric in c["figures"]]
                if runs:
                    steps, values = _mean_curve(runs, metric)
                    every = max(1, len(steps) // 5)
                    axis.plot(
                        steps,
                        values,
                        **styles[method],
                        linewidth=1.8,
                        markersize=5,
                        markevery=(every - 1, every),
                        label=method,
                    )
                    ends.append(f"{method} {label} ends at {values[-1]:.3g}")
            axis.set_title(label)
            axis.set_xlabel("optimiser step")
        handles = {str(line.get_label()): line for axis in axes for line in axis.get_lines()}
        columns = max(1, min(4, len(handles), int(WIDTH * 72 / (_ENTRY + 5 * max(map(len, handles))))))
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.2 * (ceil(len(handles) / columns) - 1))  # the panels keep their height
        figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=columns, fontsize=9)
    return Plot(name, title, "; ".join(ends) + ".", figure, note=note)


def _styles(methods: list[str], palette: Palette) -> dict[str, dict[str, Any]]:
    """Return each method's line style; additional methods at the same position of the knob get their own marker."""
    styles: dict[str, dict[str, Any]] = {}
    for method in methods:
        style = line_style(method, palette)
        marks = [style["marker"], *(mark for mark in FURTHER_MARKS if mark != style["marker"])]
        taken = [known["marker"] for known in styles.values() if known == {**style, "marker": known["marker"]}]
        styles[method] = {**style, "marker": marks[min(len(taken), len(marks) - 1)]}
    return styles


def _mean_curve(runs: list[Curve], metric: str) -> tuple[list[int], list[float]]:
    """Average over seeds at the steps that every seed logged."""
    by_step: dict[int, list[float]] = {}
    for run in runs:
        for step, value in zip(run["steps"], run["figures"][metric]):
            if value is not None:
                by_step.setdefault(step, []).append(value)
    n = max(map(len, by_step.values()))
    steps = [step for step in sorted(by_step) if len(by_step[step]) == n]
    return steps, [sum(by_step[step]) / len(by_step[step]) for step in steps]
