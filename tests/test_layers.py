"""Imports run one way: a room imports only rooms below it, and no two files import each other in a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "repro"
LAYERS = (
    ("errors", "progress"),
    ("system", "traps", "toy"),
    ("tasks", "models"),
    ("generation",),
    ("training", "evaluation"),
    ("calibration", "distillation"),
    ("diagnosis",),
    ("stages",),
    ("recipes",),
    ("printed",),
    ("planner", "pin"),
    ("pipeline", "tables"),
    ("report",),
    ("workflow",),
    ("doctor",),
    ("cli",),
)
"""From the ground up. Rooms of one layer do not import each other."""
FLOOR = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms}


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in ROOT.rglob("*.py")}


def imports_of(file: Path) -> Iterator[str]:
    """The modules of this project that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in submodules)


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def test_every_room_has_a_layer() -> None:
    assert {room for module in MODULES if (room := room_of(module))} == set(FLOOR)


def test_rooms_import_only_what_is_below_them() -> None:
    upward = {
        f"{module} -> {imported}"
        for module, file in MODULES.items()
        for imported in imports_of(file)
        if (room := room_of(module)) and (other := room_of(imported)) and room != other and FLOOR[other] >= FLOOR[room]
    }
    assert upward == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    left = {module: set(imports_of(file)) - {module} for module, file in MODULES.items()}
    while leaves := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in leaves}
    assert left == {}


def test_an_upward_import_and_a_circle_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "low.py"
    file.write_text("def f():\n    from repro.cli import app\n    import repro.cli.run\n")
    assert list(imports_of(file)) == ["repro.cli.app", "repro.cli.run"]
    assert FLOOR["cli"] > FLOOR["traps"]
