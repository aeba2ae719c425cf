"""Child processes that exit when their parent does, even if it was killed, and leave Ctrl-C to it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence

import psutil

WAS_KILLED = "was killed (SIGKILL), as the system does when the machine's memory is full"
"""What messages say of a process that ended so."""
POLL_S = 0.5
"""Seconds between two checks of the parent."""


def exit_with_parent(pid: int) -> None:
    """Exit, with all descendants, as soon as process `pid` has exited: a killed run leaves nothing running.

    Call this for each process that the current one must not outlive.
    """
    try:
        parent = psutil.Process(pid)
    except psutil.NoSuchProcess:
        os._exit(143)

    def watch() -> None:
        while not has_exited(parent):
            time.sleep(POLL_S)
        kill_children()
        os._exit(143)

    threading.Thread(target=watch, daemon=True).start()


def has_exited(process: psutil.Process) -> bool:
    """Return True if the process has exited or is a zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_children(parent: psutil.Process | None = None) -> None:
    """Kill every process below `parent` (which may have exited), by default below this one."""
    for child in descendants(parent or psutil.Process()):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """Return every process below `process`; none if it has exited."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def end_processes(processes: Sequence[psutil.Process]) -> None:
    """Terminate processes, and kill those still running after five seconds."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextlib.contextmanager
def block_signals(*signals: signal.Signals) -> Iterator[None]:
    """Block these signals inside the context; processes started within never receive them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
