"""The panel of each diagnosis in full (Tables 1 and 4), and rank correlations (Figure 2)."""

from collections.abc import Callable
from typing import Any

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

Rows = list[dict[str, str]]


def panel_section(part: Part, key: str) -> Section:
    """Show the panel of every row under its first seed."""
    return _section(part, key, "The panel", EXPLAINED, lambda summary: panel_rows(summary["panel"]))


def correlation_section(part: Part, key: str) -> Section:
    """Show the rank correlations of every row under its first seed."""
    return _section(part, key, "Rank correlations", CORRELATION, frequency_rows)


def _section(part: Part, key: str, title: str, explanation: str, rows_of: Callable[[Any], Rows]) -> Section:
    summaries = diagnoses(part)
    blocks: list[Block] = [Text(explanation)] if summaries else []
    brief = list(blocks)
    for n, (row, summary) in enumerate(summaries):
        grid = text_grid(row, rows_of(summary))
        gradients = [Text(describe_gradients(summary))] if summary["gradient_variance"] else []
        blocks += [Collapsible(row, [grid, *gradients], f"{key}-panel-{n}"), *gradients]
        brief += [grid, *gradients]
    if any(map(has_curves, part.measured)):  # a panel per eta: on the page only
        brief = brief[:1]
    return Section(f"{key}-traps", title, blocks, brief=brief)
