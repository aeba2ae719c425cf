"""The panel of each diagnosis in full (Tables 1 and 4), and rank correlations (Figure 2)."""

from collections.abc import Callable
from typing import Any

from repro.report.blocks import Block, Bullets, Collapsible, Section, Text, text_grid
from repro.report.diagnoses import (
    CORRELATION,
    EXPLAINED,
    describe_gradients,
    diagnosed_rows,
    diagnoses,
    frequency_grid,
    frequency_rows,
    panel_rows,
)
from repro.report.merge import Part
from repro.report.trap_conclusions import conclusion_lines, row_lines
from repro.report.trap_measures import panel_grids
from repro.tables.verdicts.eta_curves import has_curves

BlocksOf = Callable[[str, Any], list[Block]]
TRAPS = (
    "Each trap by the rules and thresholds of repro traps (repro/report/trap_thresholds.py), under the first seed; not the"
    " paper's claims, which are judged above. The numbers behind are folded below, row by row."
)


def panel_section(part: Part, key: str) -> Section:
    """Say what was found of each trap; show the panel of every row under its first seed."""

    def blocks_of(row: str, summary: Any) -> list[Block]:
        return [Bullets(conclusion_lines(summary)), *panel_grids(summary["panel"], row)]

    def brief_of(row: str, summary: Any) -> list[Block]:
        return [text_grid(row, panel_rows(summary["panel"]))]

    lines = [] if any(map(has_curves, part.measured)) else row_lines(diagnosed_rows(part))
    conclusions: list[Block] = [Text(TRAPS), Bullets(lines)] if lines else []
    return _section(part, key, "The traps and their panel", [*conclusions, Text(EXPLAINED)], blocks_of, brief_of)


def correlation_section(part: Part, key: str) -> Section:
    """Show the rank correlations of every row under its first seed."""

    def blocks_of(row: str, summary: Any) -> list[Block]:
        return [frequency_grid(summary, row)]

    def brief_of(row: str, summary: Any) -> list[Block]:
        return [text_grid(row, frequency_rows(summary))]

    return _section(part, key, "Rank correlations", [Text(CORRELATION)], blocks_of, brief_of)


def _section(part: Part, key: str, title: str, first: list[Block], blocks_of: BlocksOf, brief_of: BlocksOf) -> Section:
    summaries = diagnoses(part)
    blocks = list(first) if summaries else []
    brief = list(blocks)
    for n, (row, summary) in enumerate(summaries):
        gradients = [Text(describe_gradients(summary))] if summary["gradient_variance"] else []
        blocks += [Collapsible(row, [*blocks_of(row, summary), *gradients], f"{key}-panel-{n}")]
        brief += [*brief_of(row, summary), *gradients]
    if any(map(has_curves, part.measured)):  # a panel per eta: on the page only
        brief = []
    return Section(f"{key}-traps", title, blocks, brief=brief)
