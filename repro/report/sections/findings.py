"""What was found, first on the page: five plain lines, and how the models answer beside their accuracy."""

from repro.report.blocks import Block, Bullets, Cell, Collapsible, Grid, Section, Text, number_cell
from repro.report.conclusions import conclude
from repro.report.incomplete import describe_missing
from repro.report.matrix import matrix_of
from repro.report.merge import Part
from repro.report.style_line import StyleLine
from repro.tables.verdicts.verdict_types import VerdictReport

STYLES = (
    "A model may lose its accuracy by no longer writing its reasoning. Reasoning: share of completions with words before"
    " the answer (repro/evaluation/reasoning.py); length in tokens. Means over tasks, which weigh the same, and seeds."
)
TOY_SCOPE = (
    "Toy scale: tiny transformers on made-up tasks (the embedded world), not the paper's models and tasks. It can show whether the"
    " method finds and uses a difference in capacity that none of its settings names, and whether controls that lack one part of"
    " it fail to. It cannot show that real students fail for that reason, or how much."
)
ONE_SEED_SCOPE = (
    "One training seed. The standard errors here are over items only, and two trainings can differ by many of them:"
    " a conclusive verdict holds for this training only. --seeds 3 shows the spread."
)
REHEARSAL = (
    "A rehearsal: every model is a miniature with meaningless weights, trained for a few steps on a few items. It shows that"
    " the stages run; no number or verdict on this page says anything about the models or the paper."
)
MATRIX_ROWS = (
    "X under G is the student that the attack X trains with what a teacher with the guard G shows (G = none: the open teacher,"
    " without a guard); Teacher under G is that teacher. no-teacher is the student that learns from its own samples alone (those"
    " that state its own majority answer). A gain is a student's score minus that of no-teacher; the teacher's owner wants it low."
    " Guards and attacks are listed below; docs/guards.md describes them in words."
)
MOST_ROWS = 16
"""Rows of the table of answers up to which it is open: a longer one (the sweep, both families) hides the verdicts below it."""


def findings_section(part: Part, key: str) -> Section:
    """Show the conclusions, and the answers' style by row."""
    styles = styles_of(part)
    missing = [line for source in part.sources for line in describe_missing(source.content.get("missing", ()))]
    rehearsal = [REHEARSAL] if part.is_rehearsal else []
    lines = Bullets([*rehearsal, *missing, *conclude(part.report, part.measured, styles, matrix_of(part))])
    scope: list[Block] = [Text(TOY_SCOPE)] if part.report.scale == "toy" else []
    if is_of_one_training(part.report):
        scope.append(Text(ONE_SEED_SCOPE))
    if matrix_of(part) is not None:
        scope.append(Text(MATRIX_ROWS))
    several = len(part.report.families) > 1
    table: list[Block] = []
    if styles:
        table = [Text(STYLES), Grid("How each model answers", [_row(line, several) for line in styles])]
    on_page = table
    if len(styles) > MOST_ROWS:
        on_page = [Collapsible(f"How each model answers: {len(styles)} rows", table, f"{key}-styles")]
    return Section(f"{key}-found", "What was found", [*scope, lines, *on_page], brief=[*scope, lines, *table])


def is_of_one_training(report: VerdictReport) -> bool:
    """Return True if statements about training rest on one training seed."""
    return len(report.seeds) == 1 and any(v.training for v in report.claims)


def styles_of(part: Part) -> list[StyleLine]:
    """Return the styles from all sources; seeds of one row are averaged, each source weighted by its seeds."""
    lines: dict[tuple[str, str], list[tuple[StyleLine, int]]] = {}
    families = {table.family for table in part.measured}
    for source in part.sources:
        for line in source.content.get("styles", []):
            if line["family"] in families:
                lines.setdefault((line["family"], line["method"]), []).append((line, len(source.content["seeds"])))
    return [_average(group) for group in lines.values()]


def _average(group: list[tuple[StyleLine, int]]) -> StyleLine:
    first, total = group[0][0], sum(seeds for _, seeds in group)
    shares = [(line["reasoning"], seeds) for line, seeds in group if line["reasoning"] is not None]
    return {
        "family": first["family"],
        "method": first["method"],
        "score": sum(line["score"] * seeds for line, seeds in group) / total,
        "reasoning": sum(share * seeds for share, seeds in shares) / total if len(shares) == len(group) else None,
        "tokens": sum(line["tokens"] * seeds for line, seeds in group) / total,
    }


def _row(line: StyleLine, several: bool) -> dict[str, Cell]:
    return {
        "row": Cell(f"{line['method']} ({line['family']})" if several else line["method"]),
        "accuracy or reward": number_cell(line["score"], ".3f"),
        "reasoning": number_cell(line["reasoning"], ".0%", missing="no answers to find"),
        "length": number_cell(line["tokens"], ".1f"),
    }
