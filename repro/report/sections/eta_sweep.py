"""The eta sweep in numbers: its curves, trend tests, and where the edge is."""

from repro.report.blocks import Block, Cell, Grid, Section, Text, number_cell, p_cell
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

TRENDS = (
    "Page's test asks whether the seeds order the values of eta alike, one-sided in the direction of the claim (as rising where"
    " there is no claim, so that a curve that falls has p near 1). Kendall's tau compares the order of the mean curve with that of"
    " eta, two-sided. Both only see order: a small p says neither how much a curve changes nor that each step goes that way, which"
    " the last column counts. The verdicts rest on slopes and steps with their intervals, and may be inconclusive beside a small p."
)


def eta_section(part: Part, key: str) -> Section:
    """Show values, trends and the edge; empty for studies whose rows do not run along eta."""
    blocks: list[Block] = []
    for table in part.measured:
        if has_curves(table):
            blocks += [Text(_describe_edge(table)), _values(table), Text(TRENDS), _trends(table)]
    return Section(f"{key}-knob", "Along eta", blocks, brief=blocks)


def _values(table: MeasuredTable) -> Grid:
    rows: dict[float, dict[str, Cell]] = {}
    for curve in CURVES:
        for p in curve_points(table, curve):
            row = rows.setdefault(p.eta, {"eta": number_cell(p.eta, "+g")})
            row[curve.title] = number_cell(p.value, ".3f", note=f"{p.low:.3f} to {p.high:.3f}")
    return Grid(f"Means over tasks with 95 % intervals, {table.family}", [rows[eta] for eta in sorted(rows)])


def _trends(table: MeasuredTable) -> Grid:
    rows = []
    for curve in CURVES:
        trend = trend_tests(table, curve)
        if trend:
            no_test = "one seed" if len(table.seeds) == 1 else "no change"
            rows.append(
                {
                    "curve": Cell(curve.title),
                    "claimed": Cell({1: "rises", -1: "falls", 0: "no claim"}[curve.expected_sign]),
                    "Page's L": number_cell(trend.page_l, ".0f", missing=no_test),
                    "p (Page)": p_cell(trend.page_p),
                    "Kendall's tau": number_cell(trend.tau, "+.2f"),
                    "p (Kendall)": p_cell(trend.tau_p),
                    "steps that way": Cell(f"{trend.steps} of {trend.of}"),
                }
            )
    return Grid(f"Trends along eta, {table.family}", rows)


def _describe_edge(table: MeasuredTable) -> str:
    limits = {curve.name: find_eta_limits(table, curve.name) for curve in CURVES[1:3]}
    limit = limits["GKD-RKL"]
    has_zero = any(eta == 0 for eta, _ in table.rows_along_eta(CURVES[0].name))
    if limit.kept_from is None or limit.kept_to is None:
        where = "Even at eta = 0" if has_zero else "On both sides of eta = 0, which was not run,"
        teacher = f"{where} it is not sure that the teacher is less than {limit.margin:g} below the untouched teacher."
    else:
        teacher = (
            f"From eta {limit.kept_from:+g} to {limit.kept_to:+g} the teacher is surely less than {limit.margin:g} below the untouched"
            " teacher."
        )
    students = "Against the student of the same method at eta = 0: " + "; ".join(
        f"{name} is surely worse at "
        + (f"eta {', '.join(f'{eta:+g}' for eta in student.lost_at)}" if student.lost_at else "no negative eta")
        for name, student in limits.items()
    )
    if not has_zero:
        students = "Students have none of the same method at eta = 0 to be compared with"
    teacher_mean, student_mean = (
        sum(weight * table.mean(*key) for key, weight in contrast.items())
        for contrast in mean_contrasts(table, ("Teacher", "Student"), ("acc", "reward"))
    )
    return (
        f"Where the edge is, {table.family}: {teacher} {students}. Accuracy or reward: untouched teacher"
        f" {teacher_mean:.3f}, untouched student {student_mean:.3f}. Surely: by the 95 % interval of that point, not corrected for"
        " the number of points."
    )
