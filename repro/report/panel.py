"""The panel of one pair of models: a terminal table, JSON, a Markdown page and figures."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from repro.report.blocks import Text, text_grid
from repro.report.diagnoses import EXPLAINED, describe_gradients, frequency_rows, panel_rows
from repro.report.figures.figure2 import write_diagnosis_figures
from repro.report.markdown import markdown_lines
from repro.report.terminal import text_table
from repro.stages.alarms import find_alarms
from repro.system.atomic_write import atomic_write, write_json

PANEL_FILE = "panel.json"
PAGE_FILE = "panel.md"


def write_panel(artifact: Path, folder: Path, *, teacher: str, student: str) -> dict[str, Any]:
    """Write JSON, page and figures of a diagnosis into the folder; return the JSON's content."""
    summary = json.loads((artifact / "summary.json").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{Path(student).name} under {Path(teacher).name}"
    figures = write_diagnosis_figures(artifact, folder, title) if summary["frequency"] else []
    content = {
        "teacher": teacher,
        "student": student,
        "artifact": artifact.name,
        "figures": [str(path.relative_to(folder)) for path in figures],
        **summary,
    }
    write_json(folder / PANEL_FILE, content)
    with atomic_write(folder / PAGE_FILE) as temporary:
        temporary.write_text(_page(content), encoding="utf-8")
    return content


def print_panel(content: dict[str, Any], console: Console) -> None:
    """Print the panel, what was left out, and the correlations."""
    title = f"{content['student']} (student) under {content['teacher']} (teacher)"
    console.print(text_table(panel_rows(content["panel"]), title))
    if content["frequency"]:
        title = "Rank correlation of token frequency and mean contribution"
        console.print(text_table(frequency_rows(content), title))
    for text in _notes(content):
        console.print(text, highlight=False, markup=False)


def _notes(content: dict[str, Any]) -> list[str]:
    notes = [EXPLAINED]
    if content["left_out"]:
        notes.append(f"Left out, since the models share no vocabulary: {', '.join(content['left_out'])}.")
    if content["not_finite"]:
        notes.append(f"Undefined, for want of pairs or of finite values: {', '.join(content['not_finite'])}.")
    if content["gradient_variance"]:
        notes.append(describe_gradients(content))
    return [*notes, *find_alarms(content)]


def _page(content: dict[str, Any]) -> str:
    lines = [f"# The traps of {content['student']} under {content['teacher']}", ""]
    lines += markdown_lines([text_grid("", panel_rows(content["panel"]))])
    if content["frequency"]:
        lines += ["## Contribution against frequency", ""]
        lines += markdown_lines([text_grid("", frequency_rows(content))])
    lines += markdown_lines(map(Text, _notes(content)))
    lines += [f"![{name}]({name})" for name in content["figures"] if name.endswith(".png")]
    return "\n".join(lines) + "\n"
