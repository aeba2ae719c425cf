"""The command runs stages, and ends in order: internal errors and interrupts."""

import json
import queue
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from repro.cli import entry_point as cli
from repro.errors import Interrupted


@pytest.mark.slow
def test_the_panel_of_two_models(repro, tmp_path):
    arguments = ("traps", "toy:gemma3-teacher", "toy:gemma3-student", "--task", "toy-bm4", "--items", 4, "--json")
    code, out, _ = repro(*arguments)
    assert code == 0
    panel = json.loads(out)
    assert {row["measure"] for row in panel["panel"]} >= {"token_rkl", "is_rkl", "pareto_k", "wrong_trace"}
    folder = next((tmp_path / "results").glob("traps-*"))
    assert json.loads((folder / "panel.json").read_text()) == panel
    assert all((folder / name).stat().st_size for name in panel["figures"])
    code, out, _ = repro(*arguments[:-1])  # cached
    assert "3 cached, 0 to run" in out
    assert "What was found" in out
    assert "effective_sample_size" not in out
    assert "effective_sample_size" in repro("show", folder)[1].replace("\n", "").replace(" ", "")
    code, out, _ = repro("traps", "toy:qwen3-teacher", "toy:gemma3-student", "--task", "toy-bm4", "--items", 4)
    assert "Left out, since the models share no vocabulary: token KL" in " ".join(out.split())


@pytest.mark.processes
def test_one_stage_end_to_end(repro, tmp_path):
    code, out, _ = repro("evaluate", "toy:qwen3-student", "--task", "toy-bm4", "--items", 4, "--quiet")
    assert code == 0
    folder = next((tmp_path / "results" / "cache").glob("evaluate-*"))
    assert json.loads((folder / "summary.json").read_text())["toy-bm4"]["items"] == 4
    assert re.fullmatch(
        r"acc 0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\] on toy-bm4 \(4 items x 16\); chance 0\.\d{3}", out.splitlines()[-1]
    )
    copy = shutil.copytree(folder, tmp_path / "copies" / folder.name)
    code, out, _ = repro("compare", folder, copy)
    assert code == 0
    assert "B - A: +0.000 [" in out
    code, out, _ = repro("compare", folder, copy, "--page", "compare.html")
    assert (code, "written: compare.html, compare.md" in out) == (0, True)
    code, out, _ = repro("verify", folder)
    assert (code, out.splitlines()[-1]) == (0, "everything agrees")
    code, _, err = repro("verify", folder, "--cache", "results/cache")
    assert (code, "is an artifact, whose record names its inputs" in err) == (2, True)
    code, _, err = repro("compare", folder)
    assert (code, "nothing to compare it with" in err) == (2, True)
    code, _, err = repro("compare", folder, Path(__file__).parents[2] / "examples" / "table2-toy")
    assert (code, "is an artifact and" in err, err.count("\n")) == (2, True, 1)
    code, out, _ = repro("show", folder)
    assert code == 0
    assert "evaluate toy:qwen3-student" in out
    code, out, _ = repro("show", folder, "--completions", 3)
    assert (code, out.count("toy-bm4, item "), out.count("  13 more")) == (0, 3, 3)


def test_an_internal_error_never_looks_like_a_contradiction(repro, monkeypatch):
    from repro.report import reload as show

    def broken(*_):
        raise KeyError("ours")

    monkeypatch.setattr(show, "show_result", broken)
    code, _, err = repro("show", "anything")
    assert code == 3
    assert "internal error" in err


@pytest.mark.parametrize(
    ("interruption", "line"),
    [
        (Interrupted("finished stages are kept"), "interrupted: finished stages are kept"),
        (Interrupted(), "interrupted"),
    ],
)
def test_an_interrupted_command_says_what_is_kept_and_no_more(repro, monkeypatch, interruption, line):
    from repro.report import reload

    def show(*arguments):
        raise interruption

    monkeypatch.setattr(reload, "show_result", show)
    code, _, err = repro("show", "anything")
    assert code == 130
    assert err.strip() == line


def test_an_interrupt_lost_in_a_destructor_is_sent_again(monkeypatch):
    sent: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(cli.os, "kill", lambda pid, number: sent.put(number))
    cli._interrupt_again(SimpleNamespace(exc_value=Interrupted()))
    assert sent.get() == signal.SIGINT
