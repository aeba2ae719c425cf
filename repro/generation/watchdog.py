"""End the process when a vLLM subprocess dies, since vLLM itself would hang."""

import contextlib
import os
import sys
import threading

import psutil

from repro.system.child_processes import has_exited

INTERVAL = 1.0
"""Seconds between two checks."""
EXIT_CODE = 70
"""Exit code of a process that ended because a vLLM subprocess died; not used for anything else."""


class Watchdog:
    """Ends this process if one of its vLLM subprocesses ends before `stop`; the driver then advises the user.

    They are recognised by name (VLLM::EngineCore, VLLM::Worker_TP0); others, such as compilers, may end at any time.

    Args:
        server: a server process to watch as well.
    """

    def __init__(self, server: int | None = None) -> None:
        descendants = psutil.Process().children(recursive=True)
        self._children = [child for child in descendants if child.pid == server or _is_vllm(child)]
        self._stopped = threading.Event()
        if self._children:
            threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Stop watching: the engine is about to end its processes."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(INTERVAL):
            for child in self._children:
                if (
                    has_exited(child) and not self._stopped.is_set()
                ):  # checked in this order: a closing engine ends it after `stop`
                    print(f"the engine's process {child.pid} ended; so does this one", file=sys.stderr, flush=True)
                    for sibling in self._children:  # an engine is no longer a child once its server died
                        with contextlib.suppress(psutil.NoSuchProcess):
                            sibling.kill()
                    os._exit(EXIT_CODE)


def _is_vllm(child: psutil.Process) -> bool:
    try:
        return any(word.startswith("VLLM::") for word in child.cmdline())
    except psutil.Error:
        return False
