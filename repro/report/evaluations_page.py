"""`repro compare --page`: evaluations side by side, the trainings behind them, and completions, on a page with its brief."""

import json
from collections.abc import Iterator
from pathlib import Path

from repro.errors import InputError
from repro.report.blocks import Block, Bullets, Cell, Code, Grid, Section, SideBySide, Text, number_cell, text_grid
from repro.report.evaluation_origin import Origin
from repro.report.evaluation_text import describe_differences, describe_intervals, describe_task, scores_by_letter
from repro.report.evaluations import EvaluationComparison
from repro.report.examples import PROMPTS, first_completions
from repro.report.figures.evaluations import scores_plot
from repro.report.figures.export import inline_chart
from repro.report.figures.style import PAGE
from repro.report.html import page_of_sections
from repro.report.markdown import markdown_lines
from repro.report.sections.glossary import glossary_section
from repro.report.text import visible
from repro.report.write import place_page, write_texts
from repro.stages.artifact import ROLLOUTS, is_complete
from repro.tables.measurements.evaluations import TaskScore
from repro.tables.metric_names import metric_name

GENERATOR = "repro compare"
LEAD = "Models on the same questions. Every difference is to A, paired by item."
_LAST_LINE = "Pictures, trainings and completions: "
_CHECKED = (
    "Each artifact's record.json has its settings, versions, hardware and the hashes of its files. To check them:"
)


def write_comparison_page(comparison: EvaluationComparison, page: Path) -> tuple[Path, Path]:
    """Write the page and its brief beside it, ending in .md; return both paths. A page of this command is replaced.

    Raises:
        InputError: the file cannot be written, or is not a page of this command.
    """
    page, brief = place_page(page, "--page", GENERATOR, _LAST_LINE)
    if is_complete(page.parent):
        raise InputError(
            f"--page {page}: this is inside an artifact, which must not get other files. Choose another folder."
        )
    title = f"{len(comparison.evaluations)} evaluations compared"
    sections = _sections(comparison)
    sample = "; ".join(
        describe_task(task, list(scores_by_letter(comparison, task).values())) for task in comparison.differences
    )
    lines = [f"# {title}", "", LEAD, ""]
    for section in sections:
        if section.brief:
            lines += [f"## {visible(section.title)}", "", *markdown_lines(section.brief)]
    lines += [f"{_LAST_LINE}{page.name}", ""]
    html = page_of_sections(title, LEAD, [*sections, glossary_section()], sample, GENERATOR)
    write_texts({page: html, brief: "\n".join(lines)}, "--page")
    return page, brief


def _sections(comparison: EvaluationComparison) -> list[Section]:
    intro: list[Block] = [_models(comparison), *_set_differently(comparison)]
    words: list[Block] = [Bullets(list(_differences(comparison))), Text(describe_intervals(comparison))]
    chart = inline_chart(scores_plot(comparison, PAGE), "compare")
    scores = list(_score_grids(comparison))
    origin = Origin(comparison)
    made: list[Block] = [*origin.warnings(), origin.chain(), Text(_CHECKED), Code(origin.commands())]
    sections = [
        Section("found", "What was found", [*intro, chart, *words], brief=[*intro, *words]),
        Section("scores", "Scores", scores, brief=scores),
        Section("made", "How each was made", [*made, *origin.trainings()], brief=made),
    ]
    examples = first_completions(_completions(comparison), _shared_prompts(comparison))
    if examples:
        note = Text("The first completion of each model on the first questions that all answered. None was chosen.")
        sections.append(Section("completions", "Completions", [note, *map(SideBySide, examples)]))
    return sections


def _models(comparison: EvaluationComparison) -> Grid:
    """Lay out which model each letter stands for."""
    rows = [
        {
            "evaluation": letter,
            "model": label,
            "artifact": ", ".join(folder.name for folder in evaluation.folders),
        }
        for letter, label, evaluation in comparison.named
    ]
    return text_grid("Models", rows)


def _set_differently(comparison: EvaluationComparison) -> list[Block]:
    """List differing sampling and grading settings, which may cause a difference in scores."""
    if not comparison.settings:
        return []
    letters = [letter for letter, _, _ in comparison.named]
    rows = [{"setting": name, **dict(zip(letters, map(str, values)))} for name, values in comparison.settings]
    warning = "The evaluations were made with different settings, which may explain a difference:"
    return [Text(warning, strong=True), text_grid("Set differently", rows)]


def _differences(comparison: EvaluationComparison) -> Iterator[str]:
    several = len(comparison.differences) > 1
    for task, differences in comparison.differences.items():
        for line in describe_differences(scores_by_letter(comparison, task), differences):
            yield f"{task}: {line}" if several else line


def _score_grids(comparison: EvaluationComparison) -> Iterator[Grid]:
    """Yield a table per task."""
    labels = {letter: label for letter, label, _ in comparison.named}
    for task in comparison.differences:
        scores = scores_by_letter(comparison, task)
        rows = [_score_row(Cell(letter, labels[letter]), score) for letter, score in scores.items()]
        yield Grid(describe_task(task, list(scores.values())), rows)


def _score_row(evaluation: Cell, score: TaskScore) -> dict[str, Cell]:
    ends = "" if score.interval is None else f"{score.interval[0]:.3f} to {score.interval[1]:.3f}"
    by_seed = ", ".join(f"{value:.3f}" for value in score.by_seed) if len(score.by_seed) > 1 else ""
    return {
        "evaluation": evaluation,
        metric_name(score.metric): Cell(f"{score.value:.3f}", ends, value=score.value),
        "by training seed": Cell(by_seed or "-"),
        "above chance": Cell({True: "yes", False: "not shown", None: "-"}[score.is_above_chance]),
        "truncated": number_cell(score.truncated, ".3f"),
        "unparsed": number_cell(score.unparsed, ".3f", missing="-"),
        "tokens": number_cell(score.mean_tokens, ".1f"),
    }


def _completions(comparison: EvaluationComparison) -> dict[str, list[Path]]:
    """Return the completions of each model, by its name on the page, for the first training seed."""
    return {f"{letter}: {label}": [evaluation.folders[0] / ROLLOUTS] for letter, label, evaluation in comparison.named}


def _shared_prompts(comparison: EvaluationComparison) -> list[tuple[str, str]]:
    """Return each task's first questions common to all evaluations: same id, prompt and key."""
    prompts = []
    for task in comparison.differences:
        items = [evaluation.table.items.get(task, ()) for evaluation in comparison.evaluations]
        shared = set(items[0]).intersection(*items[1:])
        prompts += [(task, json.loads(item)[0]) for item in items[0] if item in shared][:PROMPTS]
    return prompts
