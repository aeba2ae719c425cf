"""Ends a stage whose engine lost a process: vLLM would wait for it for ever."""

import contextlib
import os
import signal
import sys
import threading

import psutil

from repro.system.child_processes import has_exited

EVERY = 1.0
"""Seconds between two looks."""


class Watchdog:
    """Kills this process where one of vLLM's processes below it ends before `stop`; the driver then tells how to go on.

    vLLM names them (VLLM::EngineCore, VLLM::Worker_TP0); others, such as a compiler's, come and go as they like.

    Args:
        server: a server's own process, watched too.
    """

    def __init__(self, server: int | None = None) -> None:
        below = psutil.Process().children(recursive=True)
        self._children = [one for one in below if one.pid == server or _is_vllms(one)]
        self._stopped = threading.Event()
        if self._children:
            threading.Thread(target=self._look, daemon=True).start()

    def stop(self) -> None:
        """The engine is about to end them itself."""
        self._stopped.set()

    def _look(self) -> None:
        while not self._stopped.wait(EVERY):
            for child in self._children:
                if (
                    has_exited(child) and not self._stopped.is_set()
                ):  # in this order: a closing engine ends it after `stop`
                    print(f"the engine's process {child.pid} ended; this stage ends too", file=sys.stderr, flush=True)
                    for other in self._children:  # an engine whose server has gone is nobody's child
                        with contextlib.suppress(psutil.NoSuchProcess):
                            other.kill()
                    os.kill(os.getpid(), signal.SIGKILL)


def _is_vllms(child: psutil.Process) -> bool:
    try:
        return any(word.startswith("VLLM::") for word in child.cmdline())
    except psutil.Error:
        return False
