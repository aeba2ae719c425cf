"""The panel of one pair of models: its conclusions per trap, on the terminal, as JSON and as a page with its brief."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from repro.report.blocks import Block, Bullets, Cell, Grid, Section, Text, text_grid
from repro.report.conclusions import plural
from repro.report.diagnoses import (
    CORRELATION,
    EXPLAINED,
    describe_gradients,
    frequency_grid,
    frequency_rows,
    panel_rows,
)
from repro.report.figures.export import inline_chart
from repro.report.figures.figure2 import correlation_plot, write_diagnosis_figures
from repro.report.figures.style import PAGE
from repro.report.html import page_of_sections
from repro.report.markdown import markdown_lines
from repro.report.sections.glossary import glossary_section
from repro.report.terminal import text_table
from repro.report.trap_conclusions import conclude_traps, conclusion_lines
from repro.report.trap_measures import panel_grids
from repro.report.trap_thresholds import THRESHOLDS
from repro.system.atomic_write import atomic_write, write_json

PANEL_FILE = "panel.json"
PAGE_FILE = "panel.html"
BRIEF_FILE = "panel.md"
LEAD = (
    "What would go wrong in distilling this student from this teacher? A trap is seen or not seen where the 95 % interval lies"
    " entirely on one side of the threshold, and not decided where the interval includes the threshold."
)

ADVICE = (
    "The verdicts below are about these prompts. Only a distilled student shows whether distillation, or a"
    " remedy, helps: compare it with the untouched student (repro evaluate)."
)


def write_panel(artifact: Path, folder: Path, *, teacher: str, student: str) -> dict[str, Any]:
    """Write JSON, page, brief and figures of a diagnosis into the folder; return the JSON's content."""
    summary = json.loads((artifact / "summary.json").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{Path(student).name} under {Path(teacher).name}"
    figures = write_diagnosis_figures(artifact, folder, title) if summary["frequency"] else []
    content = {
        "teacher": teacher,
        "student": student,
        "artifact": artifact.name,
        "figures": [str(path.relative_to(folder)) for path in figures],
        "conclusions": [asdict(conclusion) for conclusion in conclude_traps(summary)],
        **summary,
    }
    write_json(folder / PANEL_FILE, content)
    sections = _sections(content)
    title = f"The traps of {student} under {teacher}"
    for name, text in (
        (
            PAGE_FILE,
            page_of_sections(title, LEAD, [*sections, glossary_section()], _describe_sample(content), "repro traps"),
        ),
        (BRIEF_FILE, _brief(title, sections, content["figures"])),
    ):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return content


def print_panel(content: dict[str, Any], console: Console) -> None:
    """Print the panel, the correlations and, last, the conclusion per trap."""
    title = f"{content['student']} (student) under {content['teacher']} (teacher)"
    console.print(text_table(panel_rows(content["panel"]), title))
    if content["frequency"]:
        title = "Rank correlation of token frequency and mean contribution"
        console.print(text_table(frequency_rows(content), title))
    console.print(EXPLAINED, highlight=False, markup=False)
    console.print()
    print_found(content, console)


def print_found(content: dict[str, Any], console: Console) -> None:
    """Print the conclusion per trap, the amount of data behind it, and what was left out."""
    console.print("[bold]What was found[/bold]")
    for text in [_describe_sample(content), *_notes(content)]:
        console.print(text, highlight=False, markup=False)
    for line in [ADVICE, *conclusion_lines(content)]:
        console.print(f"- {line}", highlight=False, markup=False)


def _sections(content: dict[str, Any]) -> list[Section]:
    """Build the sections: conclusions, their thresholds, the panel, the correlations."""
    conclusions = Bullets([ADVICE, *conclusion_lines(content)])
    explained: list[Block] = [Text(EXPLAINED), *map(Text, _notes(content))]
    panel = [*panel_grids(content["panel"]), *explained]
    panel_brief = [text_grid("The panel", panel_rows(content["panel"])), *explained]
    sections = [
        Section("found", "What was found", [_verdicts(content), conclusions, *_files(content)], brief=[conclusions]),
        _section("thresholds", "Thresholds", [_thresholds()]),
        Section("panel", "The panel", panel, brief=panel_brief),
    ]
    if content["frequency"]:
        title = "Contribution against frequency"
        grid, brief = (
            frequency_grid(content, "Rank correlations"),
            text_grid("Rank correlations", frequency_rows(content)),
        )
        pair = f"{Path(content['student']).name} under {Path(content['teacher']).name}"
        chart = inline_chart(correlation_plot(content, pair, 0, PAGE), "traps")
        sections.append(Section("frequency", title, [chart, grid, Text(CORRELATION)], brief=[brief, Text(CORRELATION)]))
    return sections


def _verdicts(content: dict[str, Any]) -> Grid:
    """Lay out the verdict on each trap, a column per task."""
    rows: dict[str, dict[str, Cell]] = {}
    for c in conclude_traps(content):
        tone = "warn" if c.verdict == "seen" else ""
        rows.setdefault(c.trap, {"trap": Cell(c.trap)})[c.task] = Cell(c.verdict, tone=tone)
    return Grid("Traps by task", list(rows.values()))


def _files(content: dict[str, Any]) -> list[Block]:
    pictures = [name for name in content["figures"] if name.endswith(".svg")]
    return [Text(f"Beside this page: {', '.join(pictures)}; the numbers in {PANEL_FILE}.")] if pictures else []


def _describe_sample(content: dict[str, Any]) -> str:
    """Say what was measured: tasks, prompts and completions."""
    prompts = {cell["task"]: cell["prompts"] for cell in content["panel"]}
    completions = sorted({cell["rollouts"] for cell in content["panel"]})
    by = "each model" if len({cell["policy"] for cell in content["panel"]}) > 1 else "the student"
    count = " to ".join(f"{n:,}" for n in dict.fromkeys((completions[0], completions[-1])))
    each = " per task" if len(prompts) > 1 else ""
    if len(set(prompts.values())) == 1:
        return f"{', '.join(prompts)}: {plural(next(iter(prompts.values())), 'prompt')} and {count} completions by {by}{each}"
    tasks = ", ".join(f"{task} ({plural(n, 'prompt')})" for task, n in prompts.items())
    return f"{tasks}: {count} completions by {by}{each}"


def _section(key: str, title: str, blocks: list[Block]) -> Section:
    return Section(key, title, blocks, brief=blocks)


def _thresholds() -> Grid:
    return Grid(
        "What a trap is measured by",
        [
            {
                "measure": Cell(threshold.bounds),
                "threshold": Cell(f"{threshold.value:.3g}", value=threshold.value),
                "provenance": Cell(threshold.provenance),
                "reason": Cell(threshold.reason),
            }
            for threshold in THRESHOLDS
        ],
    )


def _notes(content: dict[str, Any]) -> list[str]:
    notes = []
    if content["left_out"]:
        notes.append(f"Left out, since the models share no vocabulary: {', '.join(content['left_out'])}.")
    if content["not_finite"]:
        notes.append(f"Undefined, because there are no pairs or no finite values: {', '.join(content['not_finite'])}.")
    if content["gradient_variance"]:
        notes.append(describe_gradients(content))
    return notes


def _brief(title: str, sections: list[Section], figures: list[str]) -> str:
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", "", *markdown_lines(section.brief)]
    lines += [f"![{name}]({name})" for name in figures if name.endswith(".png")]
    return "\n".join(lines) + "\n"
