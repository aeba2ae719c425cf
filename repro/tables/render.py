"""Verdicts and tables as Markdown, and as plain rows for any other page."""

from collections.abc import Iterable, Sequence
from typing import Any

from repro.tables.decision import half_width
from repro.tables.load import PaperTable
from repro.tables.measured import MeasuredTable
from repro.tables.outcome import Verdict, VerdictReport
from repro.tables.resampling import Resamples

# Metrics that one cell of the measured table shows, in print order; the first alone carries an interval.
_VERIFIABLE = ("acc", "maj16", "pass16")


def verdict_rows(report: VerdictReport) -> list[dict[str, str]]:
    """One dict of strings per verdict: what the summary table shows, in its order."""
    return [
        {
            "claim": v.claim,
            "family": v.family,
            "statement": v.statement,
            "verdict": v.value,
            "difference": _number(v.estimate),
            "interval": _interval(v.interval),
            "p (Holm)": "" if v.p_holm is None else f"{v.p_holm:.2g}",
            "items": f"{v.items:,}",
            "seeds": str(v.seeds),
            "in the paper": _paper(v),
        }
        for v in report.claims
    ]


def verdict_markdown(report: VerdictReport) -> str:
    """The verdict page: notice, counts, summary, then each verdict's sentence, quote and evidence by task."""
    counts = ", ".join(f"{report.count(value)} {value}" for value in ("reproduced", "contradicted", "inconclusive"))
    lines = [
        f"# Verdicts on {report.study}",
        "",
        *_notice(report.notice),
        f"{len(report.claims)} claims on {', '.join(report.families)}, scale {report.scale}, "
        f"{_plural(len(report.seeds), 'training seed')}: {counts}.",
        "",
        f"Intervals are at each claim's own step of Holm's correction (level {report.alpha:g} over all "
        "claims; controls apart), "
        f"from {report.resamples:,} resamples of items and seeds. Margins are fixed in "
        "paper_tables/claims.toml. "
        "`in the paper`: how many of the paper's own printed comparisons bear the claim out.",
        "",
        *markdown_table(verdict_rows(report)),
        "",
    ]
    for name in report.skipped:
        lines += [f"Not run: {name}.", ""]
    for v in report.claims:
        lines += _detail(v)
    if report.cells:
        lines += ["## Cells", "", *markdown_table(cell_rows(report)), ""]
    return "\n".join(lines)


def cell_rows(report: VerdictReport) -> list[dict[str, str]]:
    """One dict of strings per cell verdict."""
    return [
        {
            "row": c.row,
            "column": c.column,
            "metric": c.metric,
            "printed": c.printed,
            "measured": f"{c.measured:.4g}",
            "difference": f"{c.difference:+.3g}",
            "interval": f"{c.interval[0]:+.3g} to {c.interval[1]:+.3g}",
            "margin": "" if c.margin is None else f"{c.margin:.3g}",
            "verdict": c.value,
        }
        for c in report.cells
    ]


def measured_rows(
    measured: MeasuredTable, stored: PaperTable | None = None, resamples: int = 2_000, seed: int = 0
) -> list[dict[str, str]]:
    """The measured table laid out like the paper's: `acc ± half-width of the 95 % interval [maj, pass]`.

    At paper scale a second line of each row, "(printed)", shows the paper's cells where `stored` is given.
    """
    main = {task: _main_metric(measured, task) for task in measured.tasks}
    keys = [
        (row, task, metric) for row in measured.rows for task, metric in main.items() if measured.has(row, task, metric)
    ]
    draws = Resamples(measured, keys, resamples, seed)
    rows: list[dict[str, str]] = []
    for row in measured.rows:
        shown = {"row": row}
        for task, metric in main.items():
            if not measured.has(row, task, metric):
                shown[task] = ""
                continue
            half = half_width(draws.estimate({(row, task, metric): 1.0}), 0.05)
            text = f"{measured.mean(row, task, metric):.3f} ± {half:.3f}"
            more = [m for m in _VERIFIABLE[1:] if metric == "acc" and measured.has(row, task, m)]
            if more:
                text += " [" + ", ".join(f"{measured.mean(row, task, m):.3f}" for m in more) + "]"
            shown[task] = text
        rows.append(shown)
        if stored is not None and measured.scale == "paper":
            rows.append(
                {
                    "row": f"{row} (printed)",
                    **{task: _printed(stored, measured.family, row, task) for task in main},
                }
            )
    return rows


def measured_markdown(measured: MeasuredTable, stored: PaperTable, resamples: int = 2_000, seed: int = 0) -> str:
    """The measured table as a Markdown page."""
    notice = VerdictReport(measured.study, measured.scale, (), (), 0, 0, 0, (), (), ()).notice
    sizes = ", ".join(f"{task} {len(ids)}" for task, ids in measured.items.items())
    return "\n".join(
        [
            f"# {stored.title} ({measured.family})",
            "",
            *_notice(notice),
            f"Scale {measured.scale}; {_plural(len(measured.seeds), 'training seed')}; "
            f"{measured.samples} samples per item; items: {sizes}. "
            "Cells: accuracy or reward ± half-width of its 95 % interval (items and seeds resampled) "
            "[maj@k, pass@k].",
            "",
            *markdown_table(measured_rows(measured, stored, resamples, seed)),
            "",
        ]
    )


def markdown_table(rows: Sequence[dict[str, str]]) -> list[str]:
    """Lines of a Markdown table; the first row's keys are the heads."""
    if not rows:
        return ["(nothing)"]
    heads = list(rows[0])
    return [
        _line(heads),
        _line(["---"] * len(heads)),
        *(_line([row.get(h, "") for h in heads]) for row in rows),
    ]


def _detail(v: Verdict) -> list[str]:
    lines = [
        f"## {v.claim} ({v.family})",
        "",
        f"`{v.statement}` — {v.text}.",
        "",
        f"> {v.quote} ({_section(v.section)})",
        "",
    ]
    if v.tasks:
        evidence: list[dict[str, Any]] = [
            {
                "task": t.task,
                "metric": t.metric,
                "left": f"{t.left:.3f}",
                "right": "" if t.right is None else f"{t.right:.3f}",
                "difference": _number(t.estimate),
                "95 % interval": _interval(t.interval),
                "items": f"{t.items:,}",
            }
            for t in v.tasks
        ]
        lines += [*markdown_table(evidence), ""]
    return lines


def _main_metric(measured: MeasuredTable, task: str) -> str:
    own = [metric for _, t, metric in measured.values if t == task]
    return next((m for m in ("acc", "reward") if m in own), own[0])


def _printed(stored: PaperTable, family: str, row: str, task: str) -> str:
    column = stored.column_of(task)
    cells = stored.select(columns=(column,), family=family, **{stored.row_label: row}) if column else []
    if not cells:
        return ""
    first, *rest = (c.printed.text for c in cells)
    return first + (f" [{', '.join(rest)}]" if rest else "")


def _notice(notice: str | None) -> list[str]:
    return [f"**{notice[0].upper()}{notice[1:]}.**", ""] if notice else []


def _paper(v: Verdict) -> str:
    return v.paper_bears_out if v.paper_of == 0 else f"{v.paper_bears_out} ({v.paper_held}/{v.paper_of})"


def _section(section: str) -> str:
    return f"section {section}" if section[:1].isdigit() else f"appendix {section}" if len(section) == 1 else section


def _plural(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:+.3f} to {bounds[1]:+.3f}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
