"""Learning curves: what the completions that a training drew were like, step by step."""

from collections.abc import Mapping
from math import ceil

from repro.report.blocks import Chart
from repro.report.drawing import SERIES, chart, drawing, panels
from repro.report.merge import Part
from repro.report.result import Curve

_CALIBRATION = {
    "task_reward": "task reward of the rollouts",
    "r_cal": "r_cal (nats)",
    "kl": "KL to the uncalibrated teacher (nats)",
    "length": "completion length (tokens)",
}
_DISTILLATION = {"accuracy": "accuracy in training", "length": "completion length in training (tokens)"}


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
        handles = {str(line.get_label()): line for own in axes for line in own.get_lines()}
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper left", ncols=min(4, len(handles)), fontsize=9
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
