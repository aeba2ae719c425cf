"""Ends a stage whose engine lost a process: vLLM would wait for it for ever."""

import os
import signal
import sys
import threading

import psutil

EVERY = 1.0
"""Seconds between two looks."""


class Watch:
    """Kills this process where a child that came between making this and `start` ends before `stop`; the driver then tells
    how to go on."""

    def __init__(self) -> None:
        self._others = set(psutil.Process().children(recursive=True))
        self._stopped = threading.Event()

    def start(self) -> None:
        """The engine is there, and its processes are."""
        self._children = set(psutil.Process().children(recursive=True)) - self._others
        if self._children:
            threading.Thread(target=self._look, daemon=True).start()

    def stop(self) -> None:
        """The engine is about to end them itself."""
        self._stopped.set()

    def _look(self) -> None:
        while not self._stopped.wait(EVERY):
            for child in self._children:
                if _ended(child):
                    print(f"the engine's process {child.pid} ended; this stage ends too", file=sys.stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)


def _ended(child: psutil.Process) -> bool:
    try:
        return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
