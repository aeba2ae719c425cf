"""Calls in processes of their own: their results, what they raise, and what is left of them."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from repro.errors import InputError, StageError
from repro.system import worker_processes
from repro.system.worker_processes import call_in_processes, startable

pytestmark = pytest.mark.load_sensitive
THIS = __name__


def double(value: int, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return 2 * value


def refuse(value: int) -> int:
    raise InputError(f"{value}: too large")


def die() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_results_come_in_the_order_of_the_calls() -> None:
    calls = {"slow": partial(double, 1, 0.3), "fast": partial(double, 2)}
    assert list(call_in_processes(calls, workers=2, preload=THIS).items()) == [("slow", 2), ("fast", 4)]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_run_than_there_are_workers(workers: int) -> None:
    running: list[int] = []
    call_in_processes(
        {str(n): partial(double, n) for n in range(4)},
        workers=workers,
        preload=THIS,
        progress=lambda done, total, unit, note="": running.append(len(note.split(", "))),
    )
    assert max(running) == workers


@pytest.mark.parametrize(("workers", "after"), [(0, {}), (2, {"a": "b", "b": "a"})])
def test_calls_that_can_never_start_are_an_error(workers: int, after: dict[str, str]) -> None:
    calls = {name: partial(double, 1) for name in "ab"}
    with pytest.raises(ValueError, match="a, b: none can start"):
        call_in_processes(calls, workers=workers, preload=THIS, after=after)


def test_a_call_waits_for_the_one_that_it_comes_after() -> None:
    names = ["base", "reward", "other"]
    assert startable(names, set(names), {"reward": "base"}) == ["base", "other"]
    assert startable(["reward"], {"reward", "other"}, {"reward": "base"}) == ["reward"]
    states: list[str] = []
    call_in_processes(
        {"reward": partial(double, 1), "base": partial(double, 2, 0.2)},
        workers=2,
        preload=THIS,
        after={"reward": "base"},
        progress=lambda done, total, unit, note="": states.append(note),
    )
    assert states == ["base", "reward"]


def test_what_a_call_raises_is_raised_and_ends_the_others() -> None:
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(InputError, match="3: too large"):
        call_in_processes({"long": partial(double, 1, 600.0), "bad": partial(refuse, 3)}, workers=2, preload=THIS)
    left = [p for p in set(psutil.Process().children(recursive=True)) - before if p.status() != psutil.STATUS_ZOMBIE]
    assert not [p for p in left if "forkserver" in " ".join(p.parent().cmdline())]


def test_a_killed_process_is_an_error_that_names_the_call() -> None:
    with pytest.raises(StageError, match=r"crash: its process ended without a result \(exit code -9\)\. Try again\."):
        call_in_processes({"crash": die}, workers=1, preload=THIS, advice=" Try again.")


INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background job starts with it ignored
from functools import partial
from repro.system.worker_processes import call_in_processes
try:
    call_in_processes({"call": partial(exec, "import slow_import; slow_import.work()")}, workers=1, preload="slow_import")
except KeyboardInterrupt:
    time.sleep(2)  # as a notebook, which goes on
    sys.exit(130)
"""
SLOW_IMPORT = """
import pathlib, time
pathlib.Path({started!r}).touch()
time.sleep(1)
def work():
    time.sleep(0.5)
    pathlib.Path({finished!r}).touch()
"""


def test_ctrl_c_during_the_imports_is_quiet_and_leaves_no_call(tmp_path: Path) -> None:
    started, finished = tmp_path / "started", tmp_path / "finished"
    (tmp_path / "slow_import.py").write_text(SLOW_IMPORT.format(started=str(started), finished=str(finished)))
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    _, printed = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert not finished.exists()


def test_where_a_fork_is_not_safe_each_process_is_a_fresh_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = call_in_processes({"forked": os.getppid}, workers=1, preload=THIS)
    monkeypatch.setattr(worker_processes, "CAN_FORK", False)
    parents |= call_in_processes({"fresh": os.getppid}, workers=1, preload=THIS)
    assert (parents["forked"] == os.getpid(), parents["fresh"] == os.getpid()) == (False, True)
