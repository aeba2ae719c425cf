"""Imports run one way: a package imports only packages of lower layers, and no files form an import cycle."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "repro"
LAYERS = (
    ("errors", "progress"),
    ("system",),
    ("traps", "toy"),
    ("tasks", "models"),
    ("generation",),
    ("training", "evaluation"),
    ("calibration", "distillation"),
    ("diagnosis", "conformance", "guards"),
    ("stages",),
    ("recipes",),
    ("attacks", "printed"),
    ("planner", "pin"),
    ("pipeline", "tables"),
    ("report",),
    ("workflow",),
    ("doctor",),
    ("api", "cli"),
)
"""Lowest layer first. Packages of one layer do not import each other."""
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in ROOT.rglob("*.py")}


def imports_of(file: Path) -> Iterator[str]:
    """Yield the modules of this project that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in submodules)


@functools.cache
def imports() -> dict[str, set[str]]:
    """Return module -> the modules of this project that it imports."""
    return {module: set(imports_of(file)) for module, file in MODULES.items()}


def package_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def test_every_package_has_a_layer() -> None:
    assert {package for module in MODULES if (package := package_of(module))} == set(LEVEL)


def test_packages_import_only_lower_layers() -> None:
    upward = {
        f"{module} -> {imported}"
        for module, imported_modules in imports().items()
        for imported in imported_modules
        if (package := package_of(module)) and (imported_package := package_of(imported))
        if package != imported_package and LEVEL[imported_package] >= LEVEL[package]
    }
    assert upward == set()


def test_no_import_cycle() -> None:
    left = {module: imported - {module} for module, imported in imports().items()}
    while leaves := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in leaves}
    assert left == {}


def test_imports_inside_functions_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "low.py"
    file.write_text("def f():\n    from repro.cli import app\n    import repro.cli.run\n")
    assert list(imports_of(file)) == ["repro.cli.app", "repro.cli.run"]
    assert LEVEL["cli"] > LEVEL["traps"]
