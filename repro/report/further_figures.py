"""Figures 1a, 3 and 4, the failure modes, and Table 5's stages, drawn from a result alone."""

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING, Any

from repro.evaluation.failure_modes import MODES
from repro.report.drawing import INK, SERIES, drawing, panels
from repro.report.merge import Part
from repro.report.pictures import Picture
from repro.tables.formatting import main_metric
from repro.tables.measured_table import CellKey, MeasuredTable
from repro.tables.paper.load import load
from repro.tables.statistics.decision import half_width
from repro.tables.statistics.resampling import Resamples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PRINTED = ("prefix_correct_low", "prefix_correct_high")
PAIRS = (("Teacher", "Undistillable", "teacher"), ("Student", "Misled", "student"))
"""What Figure 3 joins: before and after calibration, before and after distillation."""


def figure3(part: Part) -> list[Picture]:
    """Teachers keep, students fall: a line from before to after, with 95 % intervals."""
    pictures = []
    for table in part.measured:
        rows: list[dict[str, Any]] = []
        with drawing():
            figure, axes = _task_panels(table.tasks)
            for task, own in zip(table.tasks, axes):
                metric = main_metric(table, task)
                for (before, after, what), colour in zip(PAIRS, SERIES):
                    keys = [(row, task, metric) for row in (before, after) if table.has(row, task, metric)]
                    points = list(_points(table, keys))
                    rows += points
                    own.errorbar(
                        range(len(points)),
                        [p["value"] for p in points],
                        yerr=[p["half"] for p in points],
                        color=colour,
                        marker="o",
                        capsize=3,
                        label=what,
                    )
                for point in _points(table, [("GKD-RKL", task, metric)] if table.has("GKD-RKL", task, metric) else []):
                    rows.append(point)
                    own.plot(
                        [1], [point["value"]], linestyle="", marker="D", fillstyle="none", color=INK, label="GKD-RKL"
                    )
                own.set_xticks((0, 1), ("before", "after"))
                own.set_xlim(-0.25, 1.25)
                own.set_ylim(0, 1.02)
                own.set_title(f"{task} ({metric})")
            _legend(figure, axes[0])
        pictures.append(
            Picture(
                f"figure3-{table.family}",
                f"Teachers keep, students fall, {table.family}",
                f"Before and after. {_words(rows)}. The diamond is the student of the original teacher.",
                figure,
                rows,
            )
        )
    return pictures


def figure1a(part: Part) -> list[Picture]:
    """Each student's gain against its teacher's accuracy; a teacher's area grows with its number of parameters."""
    pictures = []
    sizes = {k: v for source in part.sources for k, v in source.content.get("extras", {}).get("parameters", {}).items()}
    for table in part.measured:
        teachers = [row for row in table.rows if f"Student of {row}" in table.rows]
        rows: list[dict[str, Any]] = []
        with drawing():
            figure, axes = _task_panels(table.tasks)
            for task, own in zip(table.tasks, axes):
                metric = main_metric(table, task)
                own.axhline(0, color=INK, linewidth=0.8)
                own.axvline(table.mean("Student", task, metric), color=INK, linewidth=0.8, linestyle=":")
                for colour, row in zip(SERIES, teachers):
                    (point,) = _points(table, [(f"Student of {row}", task, "gain")])
                    size = sizes.get(table.family, {}).get(row)
                    at = table.mean(row, task, metric)
                    rows.append({**point, "teacher": row, "teacher_accuracy": at, "teacher_parameters": size})
                    own.errorbar([at], [point["value"]], yerr=[point["half"]], color=colour, capsize=3)
                    area = 40 if not size else 18 * (size / min(v for v in sizes[table.family].values() if v)) ** 0.5
                    own.scatter([at], [point["value"]], s=min(area, 400), color=colour, label=row)
                own.set_title(f"{task}: dotted, the student's own")
                own.set_xlabel(f"teacher's {metric}")
                own.set_ylabel("student's gain")
            _legend(figure, axes[0])
        words = "; ".join(
            f"{r['task']}, {r['teacher']} ({_size(r['teacher_parameters'])}, {r['teacher_accuracy']:.2f}): {r['value']:+.3f}"
            for r in rows
        )
        pictures.append(
            Picture(
                f"figure1a-{table.family}",
                f"Student's gain by teacher, {table.family}",
                f"Teacher (parameters, accuracy): its student's gain. {words}.",
                figure,
                rows,
            )
        )
    return pictures


def figure4(part: Part) -> list[Picture]:
    """Share of continuations that end right, by how much of the misled student's completion was given."""
    pictures = []
    for table in part.measured:
        rows: list[dict[str, Any]] = []
        with drawing():
            figure, axes = _task_panels(table.tasks)
            for task, own in zip(table.tasks, axes):
                for teacher, colour in zip(("Teacher", "Undistillable", "Eta0", "Misled"), SERIES):
                    labels = [
                        r for r in table.rows if r.startswith(f"{teacher}, ") and table.has(r, task, "prefix_correct")
                    ]
                    points = [
                        {**p, "fraction": _fraction(p["row"])}
                        for p in _points(table, [(r, task, "prefix_correct") for r in labels])
                    ]
                    rows += points
                    own.errorbar(
                        [p["fraction"] for p in points],
                        [p["value"] for p in points],
                        yerr=[p["half"] for p in points],
                        color=colour,
                        marker="o",
                        capsize=3,
                        label=teacher,
                    )
                if table.scale == "paper":
                    low, high = (load("figures").cell("misled-prefixes", m, figure="Figure 4").value for m in PRINTED)
                    own.axhspan(low, high, color=SERIES[7], alpha=0.3, label="printed in the paper")
                own.set_ylim(0, 1.02)
                own.set_title(task)
                own.set_xlabel("share of the student's completion given")
                own.set_ylabel("ends right")
            _legend(figure, axes[0])
        pictures.append(
            Picture(
                f"figure4-{table.family}",
                f"Teachers on the misled student's prefixes, {table.family}",
                f"Ends right. {_words(rows)}."
                if rows
                else "No prompt was lost that the teacher solves: nothing to show.",
                figure,
                rows,
            )
        )
    return pictures


def failure_modes(part: Part) -> list[Picture]:
    """Share of completions of lost prompts in each mode, by student."""
    pictures = []
    for table in part.measured:
        rows: list[dict[str, Any]] = []
        students = [row for row in table.rows if any(table.has(row, task, "lost") for task in table.tasks)]
        with drawing():
            figure, axes = _task_panels(table.tasks, height=1.2 + 0.3 * len(students))
            for task, own in zip(table.tasks, axes):
                for offset, (mode, colour) in enumerate(zip(MODES, SERIES)):
                    points = list(_points(table, [(r, task, mode) for r in students if table.has(r, task, mode)]))
                    rows += points
                    if not points:
                        continue
                    own.barh(
                        [students.index(p["row"]) + 0.26 * (offset - 1) for p in points],
                        [p["value"] for p in points],
                        xerr=[p["half"] for p in points],
                        height=0.24,
                        color=colour,
                        ecolor=INK,
                        label=mode.replace("_", "-"),
                    )
                own.set_yticks(range(len(students)), students)
                own.set_ylim(len(students) - 0.4, -0.6)
                own.set_xlim(0, 1.02)
                own.grid(axis="y", visible=False)
                own.set_title(f"{task}: share of completions of lost prompts")
            _legend(figure, axes[0])
        pictures.append(
            Picture(
                f"failure-modes-{table.family}",
                f"Failure modes by student, {table.family}",
                f"{_words(rows)}." if rows else "No student lost enough prompts to tell.",
                figure,
                rows,
            )
        )
    return pictures


def table5(part: Part) -> list[Picture]:
    """Hours of every stage against the arithmetic that it did, by kind."""
    from matplotlib.ticker import LogLocator, NullLocator

    pictures = []
    for n, source in enumerate(part.sources):
        found = source.content.get("extras", {}).get("costs")
        if found is None:
            continue
        lines = [line for line in found["lines"] if line["flops"]]
        kinds = list(dict.fromkeys(line["kind"] for line in lines))
        with drawing():
            figure, (axes,) = panels(1, 1, 7.6, 3.6)
            for colour, kind in zip(SERIES, kinds):
                own = [line for line in lines if line["kind"] == kind]
                axes.plot(
                    [line["flops"] or 0 for line in own],
                    [line["hours"] for line in own],
                    linestyle="",
                    marker="o",
                    color=colour,
                    label=kind,
                )
            for axis in (axes.xaxis, axes.yaxis):
                axis.axes.set(**{f"{axis.axis_name}scale": "log"})
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter("{x:.0e}")
                axis.set_minor_locator(NullLocator())
            axes.set_xlabel("floating-point operations (DERIVED: 2 N D forwards, 6 N D in training)")
            axes.set_ylabel(found["unit"])
            _legend(figure, axes)
        words = "; ".join(f"{line['label']}: {line['flops']:.2g} operations, {line['hours']:.2g} h" for line in lines)
        rows = [dict(line) for line in found["lines"]]
        pictures.append(
            Picture(f"table5-costs-{n}", "Cost of every stage against its arithmetic", f"{words}.", figure, rows)
        )
    return pictures


def _points(table: MeasuredTable, keys: list[CellKey]) -> Iterator[dict[str, Any]]:
    draws = Resamples(table, keys, 2_000, 0)
    for row, task, metric in keys:
        estimate = draws.estimate({(row, task, metric): 1.0})
        yield {
            "row": row,
            "task": task,
            "metric": metric,
            "value": estimate.value,
            "half": half_width(estimate, 0.05),
        }


def _task_panels(tasks: tuple[str, ...], height: float = 3.0) -> "tuple[Figure, list[Axes]]":
    columns = min(3, len(tasks))
    figure, axes = panels(columns, ceil(len(tasks) / columns), 7.6 / columns + 0.8, height)
    for spare in axes[len(tasks) :]:
        spare.remove()
    return figure, axes[: len(tasks)]


def _legend(figure: "Figure", axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=9)


def _words(rows: list[dict[str, Any]]) -> str:
    return "; ".join(f"{r['task']}, {r['row']} {r['metric']}: {r['value']:.3f} ± {r['half']:.3f}" for r in rows)


def _fraction(label: str) -> float:
    words = label.rpartition(", ")[2]
    return float(words.partition("%")[0]) / 100 if "%" in words else 0.0


def _size(parameters: float | None) -> str:
    return "size unknown" if not parameters else f"{parameters:.3g}"
