"""Processes that end with the one that they were started for, however it ends."""

import contextlib
import os
import threading
import time

import psutil

POLL_S = 0.5
"""Seconds between two looks."""


def exit_with_parent(other: int) -> None:
    """End this process, and all that it started, when process `other` is gone: a killed run leaves nothing running."""
    try:
        watched = psutil.Process(other)
    except psutil.NoSuchProcess:
        os._exit(143)

    def watch() -> None:
        while not has_exited(watched):
            time.sleep(POLL_S)
        kill_children()
        os._exit(143)

    threading.Thread(target=watch, daemon=True).start()


def has_exited(process: psutil.Process) -> bool:
    """Whether it is gone, or waits for nothing but its parent's look."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_children(of: psutil.Process | None = None) -> None:
    """Kill every process below this one (or below `of`, which may be gone)."""
    try:
        below = (of or psutil.Process()).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
