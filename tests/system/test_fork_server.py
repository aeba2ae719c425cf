"""The fork server: its processes are isolated and end with it and with its starter; what cannot be forked is refused."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from repro.system.fork_server import CAN_FORK, NO_THREADS, ForkServer, ForkServerError

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="no fork server on this system")
PATIENCE = 300
"""Seconds after which a process counts as left behind, even on a busy machine."""
RUN = """
import os, subprocess, sys, time
from repro.system.fork_server import serve

def run(order):
    print("printed to stdout")
    print("and to stderr", file=sys.stderr)
    if "child" in order:
        child = subprocess.Popen(["sleep", "600"])
        print("child", child.pid, flush=True)
    if "seconds" in order:
        time.sleep(order["seconds"])
    if "exit" in order:
        sys.exit(order["exit"])
    raise LookupError("a defect")
"""


def command(serve: str = "serve(['json'], run)", before: str = "") -> list[str]:
    return [sys.executable, "-c", f"{RUN}\n{textwrap.dedent(before)}\n{serve}"]


@pytest.fixture
def start(tmp_path):
    servers = []

    def start(*arguments: str) -> ForkServer:
        servers.append(ForkServer(command(*arguments), {**os.environ, **NO_THREADS}, tmp_path / "server.log"))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def wait_for(forked) -> int:
    deadline = time.monotonic() + PATIENCE
    while (code := forked.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return code


def grandchild(log) -> psutil.Process:
    while "child " not in (log.read_text() if log.exists() else ""):
        time.sleep(0.01)
    return psutil.Process(int(log.read_text().split("child ")[1].split()[0]))


@pytest.mark.load_sensitive
def test_each_process_has_its_log_and_its_exit_code(start, tmp_path):
    server = start()
    orders = [{"exit": 0}, {"exit": 7}, {}]
    forked = [server.start(tmp_path / f"{number}.log", order) for number, order in enumerate(orders)]
    assert len({process.pid for process in forked} | {server.pid, os.getpid()}) == 5
    assert [wait_for(process) for process in forked] == [0, 7, 1]
    for number in range(3):
        text = (tmp_path / f"{number}.log").read_text()
        assert "printed to stdout" in text
        assert "and to stderr" in text
        assert ("LookupError: a defect" in text) == (number == 2)


@pytest.mark.load_sensitive
def test_a_killed_process_is_reported_and_the_others_go_on(start, tmp_path):
    server = start()
    killed, unharmed = (server.start(tmp_path / "log", {"seconds": seconds, "exit": 0}) for seconds in (600, 1))
    os.kill(killed.pid, signal.SIGKILL)
    assert wait_for(killed) == -signal.SIGKILL
    assert wait_for(unharmed) == 0


@pytest.mark.load_sensitive
def test_a_killed_server_says_so_and_its_processes_end_themselves(start, tmp_path):
    server = start()
    forked = server.start(tmp_path / "log", {"seconds": 600, "child": True})
    processes = [psutil.Process(forked.pid), grandchild(tmp_path / "log")]
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(ForkServerError, match=r"has ended \(signal 9\)"):
        wait_for(forked)
    with pytest.raises(ForkServerError, match=r"has ended \(signal 9\)"):
        server.start(tmp_path / "another", {})
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    assert not alive


@pytest.mark.load_sensitive
def test_nothing_is_left_after_close_even_of_a_killed_server(start, tmp_path):
    for signals in ((), (signal.SIGKILL,)):
        server = start()
        log = tmp_path / f"log-{len(signals)}"
        forked = server.start(log, {"seconds": 600, "child": True})
        processes = [psutil.Process(server.pid), psutil.Process(forked.pid), grandchild(log)]
        for number in signals:
            os.kill(server.pid, number)
        server.close()
        assert not [p for p in processes[:2] if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        _, alive = psutil.wait_procs(processes[2:], timeout=PATIENCE)
        assert not alive


@pytest.mark.load_sensitive
def test_nothing_outlives_a_killed_starter(tmp_path):
    code = f"""
    import os, sys, time
    from pathlib import Path
    from repro.system.fork_server import ForkServer
    server = ForkServer({command()!r}, os.environ, Path({str(tmp_path / "server.log")!r}))
    server.start(Path({str(tmp_path / "log")!r}), {{"seconds": 600, "child": True}})
    print("ready", flush=True)
    time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=os.environ | NO_THREADS
    ) as starter:
        assert starter.stdout.readline() == "ready\n"
        grandchild(tmp_path / "log")
        processes = psutil.Process(starter.pid).children(recursive=True)
        assert len(processes) == 3
        starter.kill()
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    assert not alive


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("import threading; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "threads run"),
        ("import types; sys.modules['torch'] = types.SimpleNamespace(cuda=types.SimpleNamespace(is_initialized=lambda: True))", "CUDA has been used"),
        ("sys.modules['json'] = None", "ModuleNotFoundError: import of json halted"),
    ],
    ids=["threads", "CUDA", "imports"],
)  # fmt: skip
def test_a_server_that_cannot_fork_says_why(start, before, reason):
    with pytest.raises(ForkServerError, match=reason):
        start("serve(['json'], run)", before).wait_until_ready()


def test_a_thread_that_starts_later_ends_the_server(start, tmp_path):
    """It is found before the next fork."""
    before = """
    import threading
    import repro.system.fork_server as module
    def delayed(*arguments):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        return module_fork(*arguments)
    module_fork, module._fork_at_orders = module._fork_at_orders, delayed
    """
    server = start("serve(['json'], run)", before)
    server.wait_until_ready()
    with pytest.raises(ForkServerError, match="threads run that a fork would not copy"):
        server.start(tmp_path / "log", {"seconds": 600})
    assert not (tmp_path / "log").exists()
