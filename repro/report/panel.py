"""The panel of one pair of models: a terminal table, JSON, a page and figures."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from repro.report.markdown import markdown_table
from repro.report.traps import EXPLAINED, contribution_figures, frequency_rows, gradient_words, panel_rows
from repro.system.atomic_write import atomic_write, write_json

PANEL_FILE = "panel.json"
PAGE = "panel.md"


def write_panel(artifact: Path, folder: Path, *, teacher: str, student: str) -> dict[str, Any]:
    """Write JSON, page and figures of a diagnosis into the folder; the JSON's content."""
    summary = json.loads((artifact / "summary.json").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    if summary["frequency"]:
        figures = contribution_figures(
            artifact, summary, folder / "figures", f"{_short(student)} under {_short(teacher)}"
        )
    content = {
        "teacher": teacher,
        "student": student,
        "artifact": artifact.name,
        "figures": [str(path.relative_to(folder)) for path in figures],
        **summary,
    }
    write_json(folder / PANEL_FILE, content)
    with atomic_write(folder / PAGE) as aside:
        aside.write_text(_page(content))
    return content


def print_panel(content: dict[str, Any], console: Console) -> None:
    """The panel as a terminal table, what was left out, and the correlations."""
    rows = panel_rows(content["panel"])
    _print(rows, f"{content['student']} (student) under {content['teacher']} (teacher)", console)
    if content["frequency"]:
        _print(frequency_rows(content), "Rank correlation of token frequency and mean contribution", console)
    for words in _words(content):
        console.print(words, highlight=False, markup=False)


def _words(content: dict[str, Any]) -> list[str]:
    words = [EXPLAINED]
    if content["left_out"]:
        words.append(f"Left out, since the models share no vocabulary: {', '.join(content['left_out'])}.")
    if content["not_finite"]:
        words.append(f"Undefined, for want of pairs or of finite values: {', '.join(content['not_finite'])}.")
    if content["gradient_variance"]:
        words.append(gradient_words(content))
    return words


def _page(content: dict[str, Any]) -> str:
    lines = [f"# The traps of {content['student']} under {content['teacher']}", ""]
    lines += [*markdown_table(panel_rows(content["panel"])), ""]
    if content["frequency"]:
        lines += ["## Contribution against frequency", "", *markdown_table(frequency_rows(content)), ""]
    for words in _words(content):
        lines += [words, ""]
    lines += [f"![{name}]({name})" for name in content["figures"] if name.endswith(".png")]
    return "\n".join(lines) + "\n"


def _print(rows: list[dict[str, str]], title: str, console: Console) -> None:
    grid = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in rows[0]:
        grid.add_column(head, overflow="fold", no_wrap=head == "measure")
    for row in rows:
        grid.add_row(*(value.replace("[", r"\[") for value in row.values()))
    console.print(grid)


def _short(name: str) -> str:
    return Path(name).name
