"""Equality of mathematical answers, decided by math-verify in a child process that can be stopped.

Completions are hostile: `9^{9^{9^9}}` or 300 nested parentheses keep a computer algebra system busy for
seconds or for ever. math-verify's own limit is a signal, which works in the main thread only and cannot
interrupt one huge integer power. A child has its own main thread, a limit on processor time (so that a busy
machine grades as an idle one does), and can be killed. It also keeps sympy out of processes that train.
"""

import atexit
import functools
import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

MAX_LENGTH = 400
MAX_NESTING = 20
CPU_SECONDS = 1.0
WALL_SECONDS = 10.0
START_SECONDS = 120.0

_HUGE = re.compile(r"\^\s*\{?\s*\d{6}|\d{5}\s*!|!\s*!|\^[{(\s]{0,4}\w{1,9}\s?\^[{(\s]{0,4}\w{1,9}\s?\^")

_OUT_OF_TIME = (None, -signal.SIGXCPU)
"""How a child ends that got a costly question: it had to be killed, or the kernel ended it at its limit."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """same: equal by math-verify. form: one spelling of the parsed answer, None where it was not parsed."""

    same: bool
    form: str | None


UNDECIDED = Comparison(False, None)


def is_too_costly(answer: str) -> bool:
    """Known ways to keep a parser busy: long text, deep nesting, towers of powers, huge factorials."""
    if len(answer) > MAX_LENGTH or _HUGE.search(answer):
        return True
    depth = deepest = 0
    for character in answer:
        if character in "({[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")}]":
            depth -= 1
    return deepest > MAX_NESTING


@functools.lru_cache(maxsize=65536)
def compare(answer: str, key: str) -> Comparison:
    """Compare an answer with the key. What cannot be decided within the limits is not equal."""
    return UNDECIDED if is_too_costly(answer) or is_too_costly(key) else _child.ask(answer, key)


class _Child:
    """One child per process, started at the first question, replaced after it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, answer: str, key: str) -> Comparison:
        """The child's verdict. A child that was ended from outside is replaced and asked once more."""
        with self._lock:
            for _ in range(2):
                if self._process is None:
                    self._start()
                reply = self._exchange(json.dumps([answer, key]), WALL_SECONDS)
                if reply is not None:
                    return Comparison(reply["same"], reply["form"])
                if self._stop() in _OUT_OF_TIME:
                    break
            log.warning("grading gave up on the answer %r", answer[:80])
            return UNDECIDED

    def _start(self) -> None:
        # -P: the script's own folder must not shadow the modules that math-verify imports.
        script = str(Path(__file__).with_name("equality_child.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-P", script, str(CPU_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        ready = self._exchange(None, START_SECONDS)
        if ready is None or "error" in ready:
            self._stop()
            raise RuntimeError(f"the grading process did not start: {ready['error'] if ready else 'no sign of life'}")

    def _exchange(self, request: str | None, seconds: float) -> dict | None:
        """One line there and one back; None where the child died or stayed silent."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if request is not None:
                self._process.stdin.write(request.encode() + b"\n")
            poller = select.poll()  # select.select refuses the high descriptors of a process with many files
            poller.register(self._process.stdout, select.POLLIN)
            line = b""
            while not line.endswith(b"\n"):
                part = os.read(self._process.stdout.fileno(), 65536) if poller.poll(1000 * seconds) else b""
                if not part:
                    return None
                line += part
            return json.loads(line)
        except BrokenPipeError:
            return None

    def _stop(self) -> int | None:
        """End the child. The code that it ended with; None where it was still busy."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            code = process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            code = None
            process.kill()
            process.wait()
        self._close(process)
        return code

    @staticmethod
    def _close(process: "subprocess.Popen[bytes]") -> None:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def stop(self) -> None:
        """End the child; the next question starts another."""
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()  # the child ends where its input ends
            self._stop()

    def forget(self) -> None:
        """In a forked process: the child is the parent's; two askers on one pipe would mix their answers."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process is not None:
            self._close(process)


_child = _Child()
atexit.register(_child.stop)
os.register_at_fork(after_in_child=_child.forget)
