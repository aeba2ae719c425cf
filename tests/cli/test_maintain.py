"""Maintenance commands, and the warning of a run whose inputs are not pinned."""

import io
import re
from types import SimpleNamespace

import pytest
from stub_nvidia_smi import card, install

from repro.pin import pin as pinning
from repro.stages import pins
from repro.system import hardware as machine
from repro.workflow import study


@pytest.fixture
def nothing_pinned(monkeypatch):
    monkeypatch.setattr(pins, "pinned_revision", lambda name: "unpinned")


@pytest.fixture
def eight_gpus(monkeypatch, nothing_pinned, tmp_path):
    """A machine that fits paper scale, and a study that stops before its first stage; returns the scales that started."""
    cards = [card(n, f"GPU-{n}", 81559, "NVIDIA H100 80GB HBM3") for n in range(8)]
    install(monkeypatch, tmp_path / "bin", *cards, files=8)
    monkeypatch.setattr(machine, "_shared_memory_gib", lambda: 0.0625)
    started = []

    def run_study(planned, *_, **__):
        started.append(planned.scale)
        return SimpleNamespace(is_contradicted=False)

    monkeypatch.setattr(study, "run_study", run_study)
    return started


PAPER = ("run", "table2", "--family", "qwen3", "--scale", "paper")


def test_paper_scale_warns_of_what_is_unpinned_and_of_the_container(repro, eight_gpus):
    code, _, err = repro(*PAPER, "--yes")
    assert code == 0
    assert eight_gpus == ["paper"]
    lines = err.splitlines()
    assert sum(line.startswith("warning: unpinned") for line in lines) == 1
    assert "Qwen/Qwen3-8B" in err
    assert sum(line.startswith("warning: /dev/shm") for line in lines) == 1


def test_paper_scale_with_every_revision_pinned_does_not_warn(repro, eight_gpus, monkeypatch):
    monkeypatch.setattr(pins, "pinned_revision", lambda name: "e5" * 20)
    assert "unpinned" not in repro(*PAPER, "--yes")[2]


def test_small_scale_does_not_require_pins(repro, eight_gpus):
    assert "unpinned" not in repro("run", "table2", "--scale", "small")[2]


def test_the_largest_scale_is_not_chosen_by_the_machine(repro, eight_gpus):
    """`docker run --gpus all repro` on eight H100s: thousands of GPU-hours start only if they are asked for."""
    code, out, _ = repro("run", "table2")
    assert (code, eight_gpus) == (0, ["small"])
    assert out.startswith("scale small: scale paper fits this machine too")


def test_without_a_terminal_paper_scale_wants_yes(repro, eight_gpus):
    code, out, err = repro(*PAPER)
    assert (code, out, eight_gpus) == (2, "", [])
    assert re.search(r"scale paper takes about [1-9],?\d+ GPU-hours", err)
    assert "--yes" in err


@pytest.mark.parametrize(("answer", "started"), [("y", ["paper"]), ("n", []), ("", [])])
def test_at_a_terminal_paper_scale_shows_its_plan_and_asks(repro, eight_gpus, monkeypatch, answer, started):
    terminal = io.StringIO(f"{answer}\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    code, out, _ = repro(*PAPER)
    assert (code, eight_gpus) == (0, started)
    for text in ("calibrate teacher", "GPU-hours (H100)", "Start about"):
        assert text in out


def test_a_dry_run_lists_what_is_unpinned(repro, nothing_pinned):
    code, out, _ = repro("run", "table2", "--scale", "paper", "--dry-run")
    assert code == 0
    assert "unpinned hub revisions" in out


def test_pin_check_does_not_use_the_network(repro, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("used the network"))
    code, out, _ = repro("pin", "--check")
    names = pinning.find_unpinned()
    assert code == (1 if names else 0)
    assert out.count("unpinned: ") == len(names)


def test_pin_reports_what_did_not_answer_and_exits_2(repro, monkeypatch):
    done = pinning.PinResult({"a/b": "c" * 40}, ["huggingface.co: cannot be reached (no route): d/e"])
    monkeypatch.setattr(pinning, "pin", lambda kinds: done)
    code, out, err = repro("pin")
    assert code == 2
    assert f"a/b {'c' * 40}" in out
    assert "not looked up: huggingface.co" in err
    assert "1 pinned" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("pin", "--only", "models"), "--only models"), (("record-history", "nowhere"), "nowhere")],
)
def test_mistakes(repro, arguments, message):
    code, out, err = repro(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err


@pytest.fixture
def rehearsed(monkeypatch):
    """A rehearsal without miniatures that stops before its first stage; returns what would have run."""
    from repro.workflow import rehearsal

    calls = []

    def run_study(planned, out, execution, *, name, **_):
        calls.append(SimpleNamespace(study=planned, out=out, execution=execution, name=name))
        return SimpleNamespace(is_contradicted=True)

    monkeypatch.setattr(rehearsal, "rehearsal_of", lambda planned, out, **options: planned)
    monkeypatch.setattr(study, "run_study", run_study)
    return calls


def test_a_rehearsal_of_paper_scale_needs_no_gpu_and_asks_nothing(repro, rehearsed, monkeypatch, tmp_path):
    install(monkeypatch, tmp_path / "bin")
    code, _, err = repro(*PAPER, "--rehearse")
    assert (code, err) == (0, "")  # and its verdicts do not count
    (call,) = rehearsed
    assert call.out.parts == ("results", "rehearsal")
    assert call.name.startswith("table2-paper-")
    assert call.study.seeds == (0,)
    assert call.execution.resources.threads == 1
    repro(*PAPER, "--rehearse", "--seeds", "2", "--workers", "3", "--name", "mine")
    assert (rehearsed[1].study.seeds, rehearsed[1].execution.workers, rehearsed[1].name) == ((0, 1), 3, "mine")


def test_a_rehearsal_uses_the_gpus(repro, eight_gpus, rehearsed):
    repro(*PAPER, "--rehearse")
    assert rehearsed[0].execution.workers == 8
    assert rehearsed[0].execution.resources.threads == 8


def test_a_rehearsal_runs(repro):
    code, out, err = repro("run", "table2", "--rehearse", "--scale", "small", "--dry-run")
    assert (code, out) == (2, "")
    assert "--rehearse --dry-run" in err
    code, _, err = repro("run", "table2", "--rehearse", "--scale", "toy")
    assert code == 2
    assert "--scale small or paper" in err
