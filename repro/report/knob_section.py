"""What the eta sweep has of its own: its curves, the Pareto picture, the trend tests and the edge."""

from repro.report.blocks import Block, Cell, Chart, Grid, Section, Text
from repro.report.drawing import INK, SERIES, chart, drawing, panels
from repro.report.merge import Part
from repro.tables.measured_table import MeasuredTable
from repro.tables.verdicts.eta_curves import (
    CURVES,
    curve_points,
    find_eta_limits,
    has_curves,
    mean_contrasts,
    trend_tests,
)

STUDENTS = {curve.name: curve for curve in CURVES[1:3]}
_PANELS = {
    "accuracy or reward": CURVES[0:3],
    CURVES[3].title: CURVES[3:4],
    CURVES[4].title: CURVES[4:5],
    "completion length (tokens)": CURVES[5:8],
}


def knob_section(part: Part, key: str) -> Section:
    """Values, trends and the edge; empty for studies whose rows do not run along eta."""
    blocks: list[Block] = []
    for table in part.measured:
        if has_curves(table):
            blocks += [Text(_edge_words(table)), _values(table), _trends(table)]
    return Section(f"{key}-knob", "Along eta", blocks, brief=blocks)


def knob_figures(part: Part, key: str) -> list[Chart]:
    """The Pareto picture and the curves of each family."""
    charts = []
    for n, table in enumerate(part.measured):
        if has_curves(table):
            charts += [_pareto(table, f"{key}-pareto-{n}"), _curves(table, f"{key}-eta-{n}")]
    return charts


def _pareto(table: MeasuredTable, key: str) -> Chart:
    kept = {p.eta: p for p in curve_points(table, CURVES[0], against="Teacher")}
    words = []
    with drawing():
        figure, (axes,) = panels(1, 1, 7.6, 4.2)
        for (name, curve), colour in zip(STUDENTS.items(), SERIES):
            lost = curve_points(table, curve, against="Student")
            axes.plot([kept[p.eta].value for p in lost], [p.value for p in lost], color=colour, marker="o", label=name)
            for p in lost:
                own = kept[p.eta]
                axes.plot([own.value, own.value], [p.low, p.high], color=colour, linewidth=0.8)
                axes.plot([own.low, own.high], [p.value, p.value], color=colour, linewidth=0.8)
                axes.annotate(
                    f"{p.eta:+g}", (own.value, p.value), xytext=(4, 4), textcoords="offset points", fontsize=8
                )
            words += [
                f"{name} at eta {p.eta:+g}: teacher {kept[p.eta].value:+.2f}, student {p.value:+.2f}" for p in lost
            ]
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("teacher, change against the untouched teacher")
        axes.set_ylabel("student, change against the untouched student")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    title = f"Teacher kept against student lost, {table.family}"
    return chart(figure, key, title, f"Each point is one eta, with 95 % intervals. {'; '.join(words)}.")


def _curves(table: MeasuredTable, key: str) -> Chart:
    words = []
    with drawing():
        figure, axes = panels(2, 2, 3.8, 2.6)
        for own, (title, curves) in zip(axes, _PANELS.items()):
            for curve, colour in zip(curves, SERIES):
                line = curve_points(table, curve)
                etas = [p.eta for p in line]
                own.plot(etas, [p.value for p in line], color=colour, marker="o", markersize=4, label=curve.name)
                own.vlines(etas, [p.low for p in line], [p.high for p in line], color=colour, linewidth=1)
                words.append(f"{curve.title}: {', '.join(f'{p.eta:+g} {p.value:.2f}' for p in line)}")
            own.axvline(0, color=INK, linewidth=0.6)
            own.set_title(title)
            own.set_xlabel("eta")
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper left", ncols=3, fontsize=9)
    return chart(figure, key, f"Along eta, {table.family}", f"Means over tasks, 95 % intervals. {'; '.join(words)}.")


def _values(table: MeasuredTable) -> Grid:
    rows: dict[float, dict[str, Cell]] = {}
    for curve in CURVES:
        for p in curve_points(table, curve):
            row = rows.setdefault(p.eta, {"eta": Cell(f"{p.eta:+g}", value=p.eta)})
            row[curve.title] = Cell(f"{p.value:.3f}", note=f"{p.low:.3f} to {p.high:.3f}", value=p.value)
    return Grid(f"Means over tasks with 95 % intervals, {table.family}", [rows[eta] for eta in sorted(rows)])


def _trends(table: MeasuredTable) -> Grid:
    rows = []
    for curve in CURVES:
        found = trend_tests(table, curve)
        if found:
            rows.append(
                {
                    "curve": Cell(curve.title),
                    "asked": Cell({1: "rises", -1: "falls", 0: "nothing"}[curve.expected_sign]),
                    "Page's L": Cell("one seed" if found.page_l is None else f"{found.page_l:.0f}", value=found.page_l),
                    "p (Page)": Cell("" if found.page_p is None else f"{found.page_p:.2g}", value=found.page_p),
                    "Kendall's tau": Cell(f"{found.tau:+.2f}", value=found.tau),
                    "p (Kendall)": Cell(f"{found.tau_p:.2g}", value=found.tau_p),
                    "steps that way": Cell(f"{found.steps} of {found.of}"),
                }
            )
    caption = (
        "Is it monotone? Page's test: seeds as blocks, one-sided in the direction asked (upwards where none is asked);"
        f" Kendall's tau of the mean curve with eta, two-sided; {table.family}"
    )
    return Grid(caption, rows)


def _edge_words(table: MeasuredTable) -> str:
    found = find_eta_limits(table, "GKD-RKL")
    if found.kept_from is None:
        words = f"Even at eta = 0 it is not sure that the teacher loses less than {found.margin:g}."
    else:
        words = (
            f"The teacher surely loses less than {found.margin:g} from eta {found.kept_from:+g} to {found.kept_to:+g}."
        )
    own = [f"{name} {_lost_words(find_eta_limits(table, name).lost_from)}" for name in STUDENTS]
    text = f"Where the edge is, {table.family}: {words} Against its own kind at eta = 0: {'; '.join(own)}."
    teacher, student = (
        sum(w * table.mean(*k) for k, w in contrast.items())
        for contrast in mean_contrasts(table, ("Teacher", "Student"), ("acc", "reward"))
    )
    return f"{text} Untouched teacher {teacher:.3f}, untouched student {student:.3f}. Surely: by the 95 % interval, point by point."


def _lost_words(eta: float | None) -> str:
    return (
        "is surely worse at no unbroken run of negative eta"
        if eta is None
        else f"is surely worse at eta {eta:+g} and below"
    )
