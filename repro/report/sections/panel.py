"""The panel of each diagnosis in full (Tables 1 and 4), and rank correlations (Figure 2)."""

from repro.report.blocks import Block, Collapsible, Section, Text, text_grid
from repro.report.diagnoses import (
    CORRELATION,
    EXPLAINED,
    describe_gradients,
    diagnoses,
    frequency_rows,
    panel_rows,
)
from repro.report.merge import Part
from repro.tables.verdicts.eta_curves import has_curves


def panel_section(part: Part, key: str) -> Section:
    """Show the panel of every row under its first seed; empty for studies without a diagnosis."""
    is_figure2 = part.report.study == "figure2"
    title = "Rank correlations" if is_figure2 else "The panel"
    blocks: list[Block] = []
    brief: list[Block] = []
    for n, (row, summary) in enumerate(diagnoses(part)):
        grid = text_grid(row, frequency_rows(summary) if is_figure2 else panel_rows(summary["panel"]))
        gradients = [Text(describe_gradients(summary))] if summary["gradient_variance"] else []
        blocks += [Collapsible(row, [grid, *gradients], f"{key}-panel-{n}"), *gradients]
        brief += [grid, *gradients]
    if not blocks:
        return Section(f"{key}-traps", title, [])
    explanation = Text(CORRELATION if is_figure2 else EXPLAINED)
    if any(map(has_curves, part.measured)):  # a panel per eta: on the page alone
        brief = []
    return Section(f"{key}-traps", title, [explanation, *blocks], brief=[explanation, *brief])
