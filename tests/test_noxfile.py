"""The environment of a session follows its scale, not the machine's cards."""

import json
import os
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
noxfile.install = lambda session, lock, more=None: seen.update(lock=lock)
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
    ("arguments", "lock", "scale"),
    [
        ((), "cpu", "toy"),
        (("--seeds", "3"), "cpu", "toy"),
        (("--scale", "toy"), "cpu", "toy"),
        (("--scale=small",), "gpu", "small"),
        (("--scale", "paper", "--yes"), "gpu", "paper"),
    ],
)
def test_a_study_installs_what_its_scale_needs(session, arguments, lock, scale):
    seen = session("reproduce-table2", *arguments)
    assert seen["lock"] == lock
    study, tests = seen["commands"]
    assert len([part for part in study if "scale" in part]) == 1
    assert tests[tests.index("--scale") + 1] == scale


def test_a_scale_that_follows_the_machine_cannot_choose_what_is_installed(session):
    assert "--scale auto: name one of toy, small, paper" in session("reproduce-table2", "--scale", "auto")["error"]


@pytest.mark.parametrize("name", ["unit", "slow", "faults", "cluster"])
def test_sessions_of_the_cpu_see_no_gpu(session, name):
    seen = session(name)
    assert seen["lock"] == "cpu"
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == ""
