"""Equality of mathematical answers, decided by math-verify in a child process that can be killed.

Completions are hostile: `9^{9^{9^9}}` or 300 nested parentheses keep a computer algebra system busy for minutes.
math-verify's own limit is a signal, which works in the main thread only and cannot interrupt one huge integer power. A
child has a main thread and a limit on processor time, which means the same on a busy machine as on an idle one. It also
keeps sympy out of training processes.

Before its first question, the child imports what it needs and compares two numbers. Its time limit scales with the cost
of that, so it is equally generous on slow machines; the first expression of a kind costs up to 0.3 s more than later
ones, a small part of the limit. A comparison that hits a limit is undecided, which is not the same as different.
"""

import atexit
import contextlib
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

from repro.tasks.known_forms import known_form

MAX_LENGTH = 400
MAX_NESTING = 20
CPU_SECONDS = 10.0
"""Minimum of the limit on processor time for one comparison. The costliest honest comparison known takes 1 s."""
START_MULTIPLE = 25.0
"""The same limit in multiples of the child's start-up (0.42 s on the same machine)."""
WALL_MULTIPLE = 60.0
"""Wall-clock limit as a multiple of the CPU limit: catches a suspended child, not one waiting for a core."""
START_SECONDS = 900.0
"""Limit on wall time for the child's start-up."""

_HUGE = re.compile(r"\^\s*\{?\s*\d{6}|\d{5}\s*!|!\s*!|\^[{(\s]{0,4}\w{1,9}\s?\^[{(\s]{0,4}\w{1,9}\s?\^")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Verdict of math-verify.

    Attributes:
        is_equal: None if undecided: refused as too costly, a limit reached, or the child lost.
        form: one spelling of the parsed answer; None if it was not parsed.
    """

    is_equal: bool | None
    form: str | None


UNDECIDED = Comparison(None, None)


def is_too_costly(answer: str) -> bool:
    """Return True for known ways to stall a parser: long text, deep nesting, towers of powers, huge factorials."""
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
    """Compare an answer with the key, within limits on length, nesting, time and memory."""
    if is_too_costly(answer) or is_too_costly(key):
        log.warning("not decided, too costly to compare: %r", answer[:80])
        return UNDECIDED
    known = known_form(answer, key)
    return _child.ask(answer, key) if known is None else Comparison(*known)


class _Child:
    """The grading child of this process, started at the first question and replaced after it was killed."""

    def __init__(self, cpu_seconds: float = CPU_SECONDS, start_multiple: float = START_MULTIPLE) -> None:
        self._limits = (str(cpu_seconds), str(start_multiple))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.cpu_limit = cpu_seconds

    def ask(self, answer: str, key: str) -> Comparison:
        """Return the child's verdict. A child that was killed from outside is replaced and asked once more."""
        with self._lock:
            comparison = self._try(answer, key) or self._try(answer, key) or UNDECIDED
            if comparison.is_equal is None:
                log.warning("not decided within %.1f s of processor time: %r", self.cpu_limit, answer[:80])
            return comparison

    def _try(self, answer: str, key: str) -> Comparison | None:
        """Ask once. Return None if the child was lost for a reason other than this question."""
        if self._process is None:
            self._start()
        try:
            reply = self._exchange(json.dumps([answer, key]), WALL_MULTIPLE * self.cpu_limit)
        except TimeoutError:
            self._end()
            return UNDECIDED
        if reply is not None:
            return Comparison(reply["is_equal"], reply["form"])
        return UNDECIDED if self._end() == -signal.SIGXCPU else None  # the kernel kills it at its limit

    def _start(self) -> None:
        # -P: the script's folder must not shadow the modules that math-verify imports.
        script = str(Path(__file__).with_name("equality_child.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-P", script, *self._limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            ready = self._exchange(None, START_SECONDS) or {"error": "it ended without an answer"}
        except TimeoutError:
            ready = {"error": f"not ready after {START_SECONDS:.0f} s"}
        if "error" in ready:
            self._end()
            raise RuntimeError(f"the grading process did not start: {ready['error']}")
        self.cpu_limit = ready["cpu_limit"]

    def _exchange(self, request: str | None, seconds: float) -> dict | None:
        """Send one line and receive one; return None if the child died.

        Raises:
            TimeoutError: no answer in time.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if request is not None:
                self._process.stdin.write(request.encode() + b"\n")
        except BrokenPipeError:
            return None
        poller = select.poll()  # select.select refuses the high descriptors of a process with many files
        poller.register(self._process.stdout, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            if not poller.poll(1000 * seconds):
                raise TimeoutError
            part = os.read(self._process.stdout.fileno(), 65536)
            if not part:
                return None
            line += part
        return json.loads(line)

    def _end(self) -> int:
        """Kill the child if it still runs and return its exit code."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        code = process.wait()
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
            if self._process is None or self._process.stdin is None:
                return
            self._process.stdin.close()  # the child ends when its input ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._end()

    def forget(self) -> None:
        """Drop the child in a forked process: it belongs to the parent, and two users of a pipe would mix up
        answers."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process is not None:
            self._close(process)


_child = _Child()
atexit.register(_child.stop)
os.register_at_fork(after_in_child=_child.forget)
