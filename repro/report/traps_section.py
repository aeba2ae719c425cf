"""What Tables 1 and 4 and Figure 2 have beside their measured table: the whole panel of each diagnosis."""

from typing import Any

from repro.report.blocks import Block, Fold, Grid, Section, Text, text_cells
from repro.report.merge import Part
from repro.report.traps import CORRELATION, EXPLAINED, frequency_rows, gradient_words, panel_rows
from repro.tables.verdicts.eta_curves import has_curves


def traps_section(part: Part, key: str) -> Section:
    """The panel of every row under its first seed; correlations for Figure 2. Empty for studies without a diagnosis."""
    found = diagnoses(part)
    if not found:
        return Section(f"{key}-traps", "The panel", [])
    along_eta = any(map(has_curves, part.measured))  # a panel per eta: on the page alone
    contributions = part.report.study == "figure2"
    blocks: list[Block] = [Text(CORRELATION if contributions else EXPLAINED)]
    brief: list[Block] = list(blocks)
    for n, (title, summary) in enumerate(found):
        rows = frequency_rows(summary) if contributions else panel_rows(summary["panel"])
        grid = Grid(title, [text_cells(row) for row in rows])
        words = [Text(gradient_words(summary))] if summary["gradient_variance"] else []
        blocks += [Fold(title, [grid, *words], f"{key}-panel-{n}"), *words]
        brief += [] if along_eta else [grid, *words]
    return Section(f"{key}-traps", "Rank correlations" if contributions else "The panel", blocks, brief=brief)


def diagnoses(part: Part) -> list[tuple[str, dict[str, Any]]]:
    """Title and summary of each row's diagnosis under its first seed."""
    found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for source in part.sources:
        summaries = {
            line["artifact"]: line["summary"] for line in source.content["stages"] if line["stage"] == "diagnose"
        }
        for row in source.content["rows"]:
            if row["artifact"] in summaries:
                title = f"{row['family']}, {row['method']}, seed {row['seed']}"
                found.setdefault((row["family"], row["method"]), (title, summaries[row["artifact"]]))
    return list(found.values())
