"""Fixtures of the commands' tests."""

import shutil
import sys

import pytest

from repro.cli import entry_point as cli
from repro.models.loading import locate


@pytest.fixture
def repro(monkeypatch, capsys, tmp_path):
    """Run the command in this process; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.signal, "signal", lambda number, handler: None)  # leave this process its own handlers

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["repro", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def copy(tmp_path):
    """A copy of a toy model folder, for a test to damage."""

    def make(name="toy:qwen3-student"):
        folder = tmp_path / name.removeprefix("toy:")
        shutil.copytree(locate(name), folder)
        return folder

    return make
