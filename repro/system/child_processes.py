"""Child processes that exit when their parent does, even if it was killed."""

import contextlib
import os
import threading
import time

import psutil

POLL_S = 0.5
"""Seconds between two checks of the parent."""


def exit_with_parent(pid: int) -> None:
    """Exit, with every process below this one, as soon as process `pid` has: a killed run leaves nothing running."""
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
    try:
        children = (parent or psutil.Process()).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
