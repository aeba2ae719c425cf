"""Sessions under a Python that the project does not support end with one line, not a traceback."""

import ast
import sys
import types
from pathlib import Path

import pytest

NOXFILE = Path(__file__).parents[1] / "noxfile.py"


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 9, 0), (3, 10, 13), (3, 14, 0)])
def test_one_line_names_the_versions(version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setitem(sys.modules, "nox", types.ModuleType("nox"))  # without the names that come after the check
    with pytest.raises(SystemExit, match=rf"Python 3.11 to 3.13 is needed, this is 3\.{version[1]}: ") as exit_:
        exec(compile(NOXFILE.read_text(encoding="utf-8"), str(NOXFILE), "exec"), {"__name__": "noxfile"})
    assert "\n" not in str(exit_.value)


def test_an_old_python_can_parse_the_file() -> None:
    ast.parse(NOXFILE.read_text(encoding="utf-8"), feature_version=(3, 8))
