"""Run a notebook's cells in one process, without Jupyter, and return it with what they print.

Cells are plain Python without magics, and print what they show: the stored outputs are then the same on every machine.
"""

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any


def run_notebook(notebook: Path, folder: Path) -> dict[str, Any]:
    """Return the notebook with new outputs. folder: the working folder of its cells."""
    content: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "notebook"}
    with _inside(folder):
        for number, cell in enumerate(cell for cell in content["cells"] if cell["cell_type"] == "code"):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("".join(cell["source"]), f"{notebook.name}, code cell {number + 1}", "exec"), names)
            lines = printed.getvalue().splitlines(keepends=True)
            cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
            cell["execution_count"] = number + 1
    return content


def text_of(content: dict[str, Any]) -> str:
    """Return a notebook's file as text."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def _inside(folder: Path) -> Any:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
