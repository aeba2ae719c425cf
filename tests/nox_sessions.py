"""The sessions of noxfile.py, read without nox, which the tests do without."""

import runpy
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sessions():
    """Names and docstrings of the sessions that noxfile.py makes, by a stand-in for nox."""
    made = {}

    def session(function=None, *, name=None, **_):
        def register(f):
            made[name or f.__name__] = f.__doc__
            return f

        return register(function) if function else register

    nox = types.ModuleType("nox")
    nox.session = session
    nox.Session = object
    nox.options = types.SimpleNamespace()
    installed = sys.modules.get("nox")
    sys.modules["nox"] = nox
    try:
        runpy.run_path(str(ROOT / "noxfile.py"))
    finally:
        if installed is None:
            del sys.modules["nox"]
        else:
            sys.modules["nox"] = installed
    return made
