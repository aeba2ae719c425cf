"""Tests whose outcome could depend on other work on the machine are marked, so that `nox -s load` runs them beside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = {
    *("monotonic", "perf_counter", "process_time", "thread_time", "time", "sleep"),
    *("getrusage", "cpu_times", "wait_procs"),
}
"""Functions that read a clock, wait for one, or count processor time."""
OTHER_SESSIONS = {"slow", "vllm", "gpu", "faults", "cluster"}
"""Marks of the tests that `nox -s unit` leaves out."""


def marks(node: ast.AST) -> set[str]:
    """Return NAME of each pytest.mark.NAME below a node."""
    return {
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Attribute) and part.value.attr == "mark"
    }


def calls_a_clock(function: ast.FunctionDef) -> bool:
    """Return True if a statement calls a clock, or anything with a time limit."""
    for statement in function.body:
        for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            has_limit = any(keyword.arg == "timeout" for keyword in call.keywords) or (name == "wait" and call.args)
            if name in CLOCKS or has_limit:
                return True
    return False


def unmarked(source: str) -> Iterator[str]:
    """Yield the tests of a module which call a clock, directly or through its functions and fixtures, and lack the mark."""
    tree = ast.parse(source)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    of_module = {name for node in tree.body if isinstance(node, ast.Assign) for name in marks(node)}
    timed = {name for name, function in functions.items() if calls_a_clock(function)}
    uses = {
        name: {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        | {argument.arg for argument in function.args.args}
        for name, function in functions.items()
    }
    while more := {name for name in functions if name not in timed and uses[name] & timed}:
        timed |= more
    for name in sorted(timed):
        marked = of_module | {mark for decorator in functions[name].decorator_list for mark in marks(decorator)}
        if name.startswith("test_") and not marked & {"load_sensitive", *OTHER_SESSIONS}:
            yield name


@pytest.mark.parametrize(
    "source",
    [
        "def test_a():\n    start = time.monotonic()",
        "def test_a():\n    subprocess.run([], timeout=5)",
        "def wait():\n    time.sleep(1)\ndef helper():\n    wait()\ndef test_a():\n    helper()",
        "@pytest.fixture\ndef box():\n    sleep(1)\ndef test_a(box):\n    pass",
        "def test_a():\n    event.wait(60)",
    ],
)
def test_what_reads_a_clock_needs_the_mark(source):
    assert list(unmarked(source)) == ["test_a"]
    for mark in ("load_sensitive", "slow"):
        marked = source.replace("def test_a", f"@pytest.mark.{mark}\ndef test_a")
        assert list(unmarked(marked)) == list(unmarked(f"pytestmark = pytest.mark.{mark}\n{source}")) == []


def test_what_reads_none_needs_no_mark():
    source = "def test_a(monkeypatch):\n    monkeypatch.setattr(time, 'sleep', None)\n    'time.sleep(1)'\n    process.wait()"
    assert list(unmarked(source)) == []


def test_every_test_that_reads_a_clock_runs_under_load():
    missing = {
        str(file.relative_to(TESTS)): names
        for file in sorted(TESTS.rglob("test_*.py"))
        if not {"faults", "cluster"} & set(file.relative_to(TESTS).parts)
        and (names := list(unmarked(file.read_text())))
    }
    assert missing == {}, (
        "mark them with pytest.mark.load_sensitive: `nox -s load` runs those beside eight busy processes"
    )
