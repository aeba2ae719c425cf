"""The command and the pytest plugin: what they print, their exit codes, and that looking at the help is cheap."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.cli import entry_point
from repro.cli.conform import conform
from repro.conformance import cases

Run = Callable[..., tuple[int, str, str]]
RIGHT = "repro.conformance.reference:loss"
WRONG = """
def swapped(student_logits, teacher_logits, labels, beta=0.0):
    from repro.conformance.reference import loss
    return loss(student_logits, teacher_logits, labels, 1 - beta)
"""


@pytest.fixture
def repro(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command in this process and the test's folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(entry_point.signal, "signal", lambda number, handler: None)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["repro", *arguments])
        with pytest.raises(SystemExit) as end:
            entry_point.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def pytest_run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    options = ["-p", "repro.conformance.pytest_plugin", "-p", "no:cacheprovider", "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_a_right_loss_exits_with_0(repro: Run) -> None:
    code, out, err = repro("conform", RIGHT)
    assert code == 0, err
    assert f"{RIGHT}: {len(cases())} hold, 0 fail, 0 not applicable" in out


def test_a_wrong_loss_exits_with_1_and_names_the_threads(repro: Run, tmp_path: Path) -> None:
    (tmp_path / "losses_of_mine.py").write_text(WRONG)
    code, out, err = repro("conform", "losses_of_mine:swapped", "--case", "forward-kl")
    assert code == 1, err
    assert "this is the reverse KL" in out
    assert "threads: slime#2254" in out
    content = json.loads(repro("conform", "losses_of_mine.py:swapped", "--json")[1])
    assert content["counts"]["fails"] > 0
    assert [case["name"] for case in content["cases"]] == [case.name for case in cases()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name either one loss"),
        ((RIGHT, "--libraries"), "name either one loss"),
        ((RIGHT, "--document", "page.md"), "--document"),
        ((RIGHT, "--case", "nosuch"), "--case nosuch: choose from forward-kl"),
        (("nosuch:loss",), "nosuch cannot be imported"),
    ],
)
def test_mistakes_exit_with_2_and_one_line(arguments: tuple[str, ...], message: str, repro: Run) -> None:
    code, _, err = repro("conform", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_the_help_teaches_and_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, repro.cli\n"
        "sys.argv = ['repro', 'conform', '--help']\n"
        "try:\n    repro.cli.main()\n"
        "finally:\n    print('torch' in sys.modules, file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stderr.strip() == "False"
    for word in ("def loss(student_logits, teacher_logits, mask", "Exit codes", "pytest --conform"):
        assert word in result.stdout


def test_the_example_of_the_help_is_what_it_says(repro: Run, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", conform.__doc__ or "", re.DOTALL)
    assert example is not None
    source = "\n".join(line.removeprefix("    ") for line in example[1].splitlines())
    (tmp_path / "my_losses.py").write_text(source)
    _, out, _ = repro("conform", "my_losses.py:loss", "--divergence", "forward", "--json")
    failed = {case["name"] for case in json.loads(out)["cases"] if case["status"] == "fails"}
    assert failed == {"padding-nan", "impossible-tokens", "impossible-to-teacher", "wider-teacher", "wider-student"}


@pytest.mark.processes
def test_pytest_runs_each_case_as_a_test_and_skips_what_does_not_apply(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    result = pytest_run(
        "--conform", "repro.distillation.losses:reverse_kl", "--conform-divergence", "reverse", "-rs", cwd=tmp_path
    )
    assert result.returncode == 0, result.stdout
    passed, skipped = (int(re.search(rf"(\d+) {word}", result.stdout)[1]) for word in ("passed", "skipped"))  # type: ignore[index]
    assert passed + skipped == len(cases()) + 1
    assert "not applicable: the loss does not have a temperature" in result.stdout


@pytest.mark.processes
def test_pytest_names_the_case_that_fails(tmp_path: Path) -> None:
    (tmp_path / "losses_of_mine.py").write_text(WRONG)
    result = pytest_run("--conform", "losses_of_mine:swapped", "-k", "conform and forward-kl", cwd=tmp_path)
    assert result.returncode == 1
    assert "this is the reverse KL" in result.stdout
    assert "conform[losses_of_mine:swapped-forward-kl]" in result.stdout
    mistake = pytest_run("--conform", "nosuch:loss", cwd=tmp_path)
    assert mistake.returncode == 4
    assert "nosuch cannot be imported" in mistake.stderr + mistake.stdout


def test_pytest_without_the_option_is_untouched(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("import sys\ndef test_other():\n    assert 'torch' not in sys.modules\n")
    result = pytest_run(cwd=tmp_path)
    assert result.returncode == 0, result.stdout
