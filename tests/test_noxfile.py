"""The environment of a session follows its scale, not the machine's cards; sessions with the same locks share one."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stub_nvidia_smi import card, install

ROOT = Path(__file__).parents[1]
LOCK_OF_A_SESSION = """
import importlib.util, json, sys
from types import SimpleNamespace
import nox
spec = importlib.util.spec_from_file_location("noxfile", "noxfile.py")
noxfile = importlib.util.module_from_spec(spec)
spec.loader.exec_module(noxfile)
seen = {}
noxfile.install = lambda session, name: seen.update(environment=name)
noxfile.subprocess = SimpleNamespace(Popen=lambda command: SimpleNamespace(kill=lambda: None))  # busy processes of `load`
def run(*command, env=None, **_):
    seen.setdefault("commands", []).append(command)
    seen["env"] = env
def error(message):
    print(json.dumps({"error": message}))
    sys.exit()
session = SimpleNamespace(posargs=sys.argv[2:], run=run, error=error, log=print)
nox.registry.get()[sys.argv[1]].func(session)
print(json.dumps(seen))
"""


@pytest.fixture
def session(monkeypatch, tmp_path):
    """Run a session of a machine with a GPU, installing and starting nothing; return what it would do."""
    install(monkeypatch, tmp_path / "bin", card(0, "GPU-aaaa", 24576))

    def call(name, *arguments):
        command = [sys.executable, "-c", LOCK_OF_A_SESSION, name, *arguments]
        env = {name: value for name, value in os.environ.items() if name != "REPRO_IMAGE"}
        finished = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        return json.loads(finished.stdout.splitlines()[-1])

    return call


@pytest.mark.parametrize(
    ("arguments", "environment", "scale"),
    [
        ((), "toy", "toy"),
        (("--seeds", "3"), "toy", "toy"),
        (("--scale", "toy"), "toy", "toy"),
        (("--scale=small",), "gpu", "small"),
        (("--scale", "paper", "--yes"), "gpu", "paper"),
    ],
)
def test_a_study_installs_what_its_scale_needs(session, arguments, environment, scale):
    seen = session("reproduce-table2", *arguments)
    assert seen["environment"] == environment
    study, tests = seen["commands"]
    assert len([part for part in study if "scale" in part]) == 1
    assert tests[tests.index("--scale") + 1] == scale


def test_a_scale_that_follows_the_machine_cannot_choose_what_is_installed(session):
    assert "--scale auto: name one of toy, small, paper" in session("reproduce-table2", "--scale", "auto")["error"]


@pytest.mark.parametrize("name", ["unit", "processes", "all-but-load", "coverage", "slow", "faults", "cluster"])
def test_sessions_of_the_cpu_see_no_gpu(session, name):
    seen = session(name)
    assert seen["environment"] == "unit"
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == ""


def test_each_fast_test_is_in_one_session_of_the_readme_and_in_one_of_ci(session):
    """By their expressions of marks: those are Python's."""
    marks = ("slow", "vllm", "gpu", "faults", "cluster", "processes", "load_sensitive")
    expressions = {}
    for name in ("unit", "processes", "coverage", "all-but-load", "load"):
        (command,) = session(name)["commands"]
        expressions[name] = command[command.index("-m") + 1]
    for chosen in itertools.product([False, True], repeat=len(marks)):
        selects = {name: bool(eval(text, dict(zip(marks, chosen)))) for name, text in expressions.items()}
        assert selects["unit"] + selects["processes"] == selects["coverage"]
        assert selects["all-but-load"] + selects["load"] == selects["coverage"]


INSTALL = """
import importlib.util, json, sys
from pathlib import Path
from types import SimpleNamespace
spec = importlib.util.spec_from_file_location("noxfile", sys.argv[1])
noxfile = importlib.util.module_from_spec(spec)
spec.loader.exec_module(noxfile)
commands = []
def run_install(*command, **_):
    commands.append([str(part) for part in command])
    if "virtualenv" in command:
        folder = Path(command[-1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pyvenv.cfg").write_text(f"version = {'.'.join(map(str, sys.version_info[:3]))}\\n")
        (folder / "installed").unlink(missing_ok=True)
    if sys.argv[3] in command and len(sys.argv) > 4:
        raise noxfile.nox.command.CommandFailed
Path(".nox/.cache").mkdir(parents=True, exist_ok=True)
noxfile.install(SimpleNamespace(run_install=run_install, cache_dir=Path(".nox/.cache"), log=print), sys.argv[2])
print(json.dumps({"commands": commands, "first": __import__("os").environ["PATH"].split(":")[0]}))
"""


@pytest.fixture
def install_environment(tmp_path):
    """Run `install` in a copy of the locks with every command recorded and none run; return them."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def call(name, *failing):
        command = [sys.executable, "-c", INSTALL, str(ROOT / "noxfile.py"), name, *(failing or ("",)), *failing]
        env = {name: value for name, value in os.environ.items() if name != "REPRO_IMAGE"}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        if failing:
            assert done.returncode != 0
            return None
        seen = json.loads(done.stdout.splitlines()[-1])
        assert seen["first"] == str(tmp_path / ".nox" / name / "bin")
        return seen["commands"]

    return call


def installs(commands):
    return [command for command in commands if "install" in command]


def test_the_second_session_of_an_environment_installs_nothing(install_environment, tmp_path):
    first = install_environment("toy")
    assert "virtualenv" in first[0]
    for command in installs(first):
        assert "--no-deps" in command
        assert "--require-hashes" in command or "requirements/torch-cpu.txt" in command or "-e" in command
    assert install_environment("toy") == []
    lock = tmp_path / "requirements" / "cpu.txt"
    lock.write_text(lock.read_text() + "# another\n")
    again = install_environment("toy")
    assert installs(again) == installs(first)
    assert not any("virtualenv" in command for command in again)
    (tmp_path / ".nox" / "toy" / "pyvenv.cfg").write_text("version = 3.10.1\n")
    assert install_environment("toy") == first


def test_an_installation_that_failed_is_made_again(install_environment):
    install_environment("toy", "-e")
    assert installs(install_environment("toy"))
    assert install_environment("toy") == []


def test_only_the_tests_environment_has_the_tests_tools(install_environment):
    for name, has_them in {"toy": False, "unit": True}.items():
        assert any("requirements/tests.txt" in command for command in install_environment(name)) == has_them
