"""The traps can be used without the other packages."""

import ast
import sys
from pathlib import Path

import repro.traps

ALLOWED = {"torch", "numpy", "scipy"}


def test_traps_import_neither_trainers_nor_the_pipeline():
    files = sorted(Path(repro.traps.__file__).parent.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                root = name.split(".")[0]
                is_traps = name == "repro.traps" or name.startswith("repro.traps.")
                assert is_traps or root in ALLOWED | set(sys.stdlib_module_names), f"{file.name} imports {name}"
