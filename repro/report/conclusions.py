"""What a study found, in five plain lines shared by the page, the brief and the terminal."""

from collections.abc import Mapping, Sequence
from statistics import mean

from repro.printed.claims import Claim, Role
from repro.printed.load import load_claims
from repro.report.blocks import signed
from repro.report.matrix import gain_cells, worst_of
from repro.report.result import Matrix
from repro.report.style_line import StyleLine
from repro.report.text import capitalise
from repro.tables.formatting import FAILURE_METRICS, describe_idle, main_metric
from repro.tables.measured_table import MeasuredTable
from repro.tables.metric_names import metric_name
from repro.tables.statistics.decision import VerdictValue
from repro.tables.verdicts.sentences import describe_estimate_along_eta
from repro.tables.verdicts.verdict_types import ClaimVerdict, VerdictReport, why_untested

HIGH = 0.1
"""Failure rate from which an accuracy is flagged: a tenth of the completions never were an answer."""
MOST_NAMED = 3
"""Maximum number of claims or rows named in a line."""
BARE = 0.1
"""Share of reasoning below which a model is said to give bare answers."""
TEACHERS = ("Teacher", "Distillable", "Eta0-Teacher", "Undistillable")
SCORES = {"acc", "reward"}
STUDENTS = ("Student", "SFT", "GKD-FKL", "GKD-RKL", "Improve", "Eta0-Student", "Misled", "No-reasoning")


def conclude(
    report: VerdictReport,
    measured: Sequence[MeasuredTable],
    styles: Sequence[StyleLine] = (),
    sides: Matrix | None = None,
) -> list[str]:
    """Return what was found, one or two sentences per line; lines with nothing to say are omitted.

    Args:
        styles: how the models answer (`repro.report.styles`).
        sides: guards and attacks of a study that has a matrix of them.
    """
    lines = [_verdicts(report), _exceptions(report)]
    for table in measured:
        prefix = f"{table.family}: " if len(measured) > 1 else ""
        of_family = {line["method"]: line for line in styles if line["family"] == table.family}
        scores = _scores(table) if sides is None else _worst_attacks(table, sides)
        lines += [f"{prefix}{text}" for text in (scores, _explanation(of_family)) if text]
    idle = [
        f"{table.family}: {line}" if len(measured) > 1 else line for table in measured for line in describe_idle(table)
    ]
    lines.append(" ".join(filter(None, (_controls(report), *idle, _failures(measured)))))
    return [line for line in lines if line]


def count_in_words(counts: Mapping[VerdictValue, int]) -> str:
    """Return e.g. "4 reproduced, 1 contradicted", omitting verdicts with a count of zero."""
    return ", ".join(f"{n} {value}" for value, n in counts.items() if n) or "none"


def count_of_role(report: VerdictReport, role: Role) -> str:
    """Return e.g. "2 reproduced, 3 inconclusive (1 not run)"."""
    text = count_in_words(report.counts(role))
    not_run = sum(v.value == "inconclusive" and v.estimate is None for v in report.of_role(role))
    return text.replace(" inconclusive", f" inconclusive ({not_run} not run)") if not_run else text


def plural(n: int, noun: str) -> str:
    """Return "1 claim", "2 claims"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _verdicts(report: VerdictReport) -> str:
    claims, premises = report.of_role("claim"), report.of_role("premise")
    text = f"{plural(len(claims), 'claim')} of the paper: {count_of_role(report, 'claim')}." if claims else ""
    if premises:
        text += f" {plural(len(premises), 'premise')}, counted apart: {count_of_role(report, 'premise')}."
    return text.strip()


def _exceptions(report: VerdictReport) -> str:
    """Name what is contradicted, with the reason if known, and what is open; claims before premises, which are called so.

    Our own studies only have controls: all contradicted ones come first.
    """
    texts = []
    is_own = _has_controls_alone(report)
    roles: tuple[Role, ...] = ("control",) if is_own else ("claim", "premise")
    for value in ("contradicted", "inconclusive", "not testable"):
        named = [v for role in roles for v in report.of_role(role) if v.value == value]
        if named:
            most = len(named) if is_own and value == "contradicted" else MOST_NAMED
            shown = "; ".join((_control if is_own else _brief)(report, v) for v in named[:most])
            more = f"; and {len(named) - most} more" if len(named) > most else ""
            texts.append(f"{value.capitalize()}: {shown}{more}.")
        if named and value == "contradicted":
            claims = {claim.id: claim for claim in load_claims(report.study)}
            reasons = [toy_reason(report, v, claims[v.claim]) for v in named if v.claim in claims]
            texts += dict.fromkeys(filter(None, reasons))
    return " ".join(texts)


def _has_controls_alone(report: VerdictReport) -> bool:
    return bool(report.claims) and all(v.role == "control" for v in report.claims)


def toy_reason(report: VerdictReport, v: ClaimVerdict, claim: Claim) -> str:
    """Return why the embedded world contradicts a claim, if it does and we know why."""
    is_shown = report.scale == "toy" and v.value == "contradicted" and claim.toy_reason
    return f"In the embedded world {claim.toy_reason}." if is_shown else ""


def _brief(report: VerdictReport, v: ClaimVerdict) -> str:
    role = "premise" if v.role == "premise" else ""
    number = "" if v.value == "not testable" else why_untested(v) if v.estimate is None else _estimate(v)
    facts = ", ".join(filter(None, (role, number)))
    return f"{_statement(report, v)}{f' ({facts})' if facts else ''}"


def _estimate(v: ClaimVerdict) -> str:
    """Return the estimate, and what it is where its sign would be misread: positive for a curve that falls as claimed."""
    meaning = describe_estimate_along_eta(v.kind, v.rival)
    return f"{v.estimate:+.3f}{f': {meaning}' if meaning else ''}"


def _statement(report: VerdictReport, v: ClaimVerdict) -> str:
    """Return a statement, with its family where there are several."""
    return f"{v.statement} in {v.family}" if len(report.families) > 1 else v.statement


def _scores(table: MeasuredTable) -> str:
    """State the score at each position of the knob, or of the lowest and highest row."""
    scores = {row: score for row in table.rows if (score := _score(table, row)) is not None}
    teachers, students = (
        [row for name in names for row in scores if row == name or row.startswith(f"{name} (")]
        for names in (TEACHERS, STUDENTS)
    )
    is_of_the_knob = len(teachers) + len(students) > 2  # else the untouched pair alone: a sweep
    if {"Teacher", "Student"} <= {*teachers, *students} and is_of_the_knob and table.tasks:
        sides = (("Teachers", teachers), ("students", students))
        texts = [f"{side}: {', '.join(f'{row} {scores[row]:.3f}' for row in rows)}" for side, rows in sides]
        return f"Accuracy or reward, mean over tasks. {'; '.join(texts)}."
    return _extremes(table)


def _worst_attacks(table: MeasuredTable, sides: Matrix) -> str:
    """Name for each guard the attack that gains most, and whether that is surely a gain; an idle guard has none."""
    cells = gain_cells(table, sides)
    texts = []
    for guard in (side["label"] for side in sides["guards"]):
        worst = worst_of(guard, cells)
        if worst is not None and worst.value is not None:
            unsure = "" if worst.is_leak else ", not surely above 0"
            texts.append(f"{guard} {signed(worst.value)} ({worst.attack}{unsure})")
        elif any(cell.idle for (name, _), cell in cells.items() if name == guard):
            texts.append(f"{guard} idle")
    return f"Largest gain over the student without a teacher, by guard: {', '.join(texts)}." if texts else ""


def _extremes(table: MeasuredTable) -> str:
    """Name the lowest and highest row by the tasks' main metric, among rows that have it on every task.

    Returns nothing if all of them look equal.
    """
    metrics = {task: main_metric(table, task) for task in table.tasks}
    names = {*metrics.values()}
    if not names or (len(names) > 1 and not names <= SCORES):
        return ""
    means = {
        row: mean(table.mean(row, task, metric) for task, metric in metrics.items())
        for row in table.rows
        if all(table.has(row, task, metric) for task, metric in metrics.items())
    }
    if len(means) < 2:
        return ""
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    if f"{means[low]:.3f}" == f"{means[high]:.3f}":
        return ""
    what = "Accuracy or reward" if names <= SCORES else capitalise(metric_name(names.pop()))
    return f"{what}, mean over tasks: lowest {low} ({means[low]:.3f}), highest {high} ({means[high]:.3f})."


def _score(table: MeasuredTable, row: str) -> float | None:
    """Return the mean over tasks of a row's accuracy or reward."""
    metrics = {task: main_metric(table, task) for task in table.tasks}
    values = [
        table.mean(row, task, metric)
        for task, metric in metrics.items()
        if metric in SCORES and table.has(row, task, metric)
    ]
    return mean(values) if values else None


def _explanation(styles: Mapping[str, StyleLine]) -> str:
    """Say how the misled student, its teacher and the untouched teacher answer, and if that could explain its fall."""
    misled = next((line for name, line in styles.items() if name.startswith("Misled")), None)
    undistillable = next((line for name, line in styles.items() if name.startswith("Undistillable")), None)
    teacher = styles.get("Teacher")
    if misled is None or undistillable is None or teacher is None or undistillable["reasoning"] is None:
        return ""
    text = "Reasoning before the answer: " + ", ".join(
        f"{line['method']} {line['reasoning'] or 0:.0%} ({line['tokens']:.1f} tokens)"
        for line in (teacher, undistillable, misled)
    )
    is_bare = undistillable["reasoning"] < BARE and misled["reasoning"] is not None and misled["reasoning"] < BARE
    if (teacher["reasoning"] or 0) > 2 * BARE and is_bare:
        return (
            f"{text}. The undistillable teacher gives bare answers, and so does its student: that alone may explain the"
            " student's fall."
        )
    return f"{text}."


def _controls(report: VerdictReport) -> str:
    controls = report.of_role("control")
    if not controls:
        return ""
    text = f"{plural(len(controls), 'control')} of ours: {count_of_role(report, 'control')}"
    failed = [v for v in controls if v.value != "reproduced" and not _has_controls_alone(report)]  # else named before
    names = "; ".join(_control(report, v) for v in failed[:MOST_NAMED])
    more = f"; and {len(failed) - MOST_NAMED} more" if len(failed) > MOST_NAMED else ""
    return f"{text}{f' (not reproduced: {names}{more})' if failed else ''}."


def _control(report: VerdictReport, v: ClaimVerdict) -> str:
    """Name a control; if its sides are too close, add the largest possible difference."""
    is_close = "no difference larger" in v.open_question
    return f"{_statement(report, v)} ({v.open_question.partition(';')[0]})" if is_close else _brief(report, v)


def _failures(measured: Sequence[MeasuredTable]) -> str:
    """Name the rows with frequent failures, with their highest rate."""
    rates = {
        (table.family, row, task, metric): table.mean(row, task, metric)
        for table in measured
        for row, task, metric in table.values
        if metric in FAILURE_METRICS
    }
    if not rates:
        return ""
    high: dict[str, tuple[float, str, str]] = {}
    for (family, row, task, metric), rate in rates.items():
        name = f"{row} in {family}" if len(measured) > 1 else row
        if rate >= HIGH and rate > high.get(name, (0.0, "", ""))[0]:
            high[name] = (rate, metric, task)
    if not high:
        return f"No failure rate reaches {HIGH:.0%}."
    worst = sorted(high.items(), key=lambda entry: -entry[1][0])
    named = "; ".join(f"{row} ({rate:.0%} {metric} on {task})" for row, (rate, metric, task) in worst[:MOST_NAMED])
    more = f"; {plural(len(worst) - MOST_NAMED, 'more row')}" if len(worst) > MOST_NAMED else ""
    return f"Failure rates of {HIGH:.0%} and more: {named}{more}."
