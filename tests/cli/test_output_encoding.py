"""Output to a terminal whose encoding lacks a character: replaced, not a crash."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from repro.cli import console, entry_point
def app(**_):
    console.out_console.print("0.5 \\u00b1 0.1")
    console.print_error("\\u0394 0.2")
    return {code}
entry_point.app = app
entry_point.main()
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_characters_that_cannot_be_printed_are_replaced(environment: dict[str, str], code: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(code=code)], capture_output=True, env={**os.environ, **environment}
    )
    assert run.returncode == code, run.stderr
    assert run.stdout.rstrip() == ("0.5 ± 0.1".encode("latin-1") if "latin-1" in environment.values() else b"0.5 ? 0.1")
    assert run.stderr.rstrip() == b"? 0.2"


def test_a_closed_pipe_is_no_contradicted_claim() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        command = [sys.executable, "-m", "repro.cli", "list"]
        process = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert process.returncode == 141
    assert process.stderr == b""
