"""Fork processes from a preloaded server: they start in milliseconds, each with its own memory and log.

The server is a separate interpreter: it imports, checks that forking is safe (threads, CUDA and child processes are not
copied), and forks one process per order. Orders arrive as JSON lines on standard input; answers go to standard output.
When its input closes, which happens however its starter ends, it ends its processes and itself; if it is killed, its
processes end themselves.
"""

import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, NoReturn

import psutil

from repro.system.child_processes import descendants, end_processes, exit_with_parent

NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment of a server: without these, numpy's and Arrow's libraries start threads on import."""
CAN_FORK = sys.platform == "linux"
"""False on macOS, where system libraries do not survive a fork."""


class ForkServerError(RuntimeError):
    """The server did not start, or has ended; the message says how."""


class Forked:
    """A process forked by a server."""

    def __init__(self, server: "ForkServer", number: int) -> None:
        self._server = server
        self.number = number
        self.pid = 0
        self.process: psutil.Process | None = None
        self.exit_code: int | None = None

    @property
    def has_started(self) -> bool:
        return self.pid > 0

    def take(self, answer: dict[str, Any]) -> None:
        """Handle a server answer about this process."""
        self.exit_code = answer.get("exit_code")
        if "pid" in answer:
            self.pid = answer["pid"]
            with contextlib.suppress(psutil.NoSuchProcess):  # the exit code follows
                self.process = psutil.Process(answer["pid"])

    def poll(self) -> int | None:
        """Return the exit code (negative for a signal), or None while the process runs.

        Raises:
            ForkServerError: the server has ended, and this process with it.
        """
        if self.exit_code is None:
            self._server.read_answers()
        return self.exit_code


class ForkServer:
    """Handle to a running server. Close it at the end.

    Args:
        command: command line of an interpreter that calls `serve`.
        env: environment of the server and its processes.
        log: file for the server's output.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._is_ready = False
        self._buffer = b""
        self._forked: list[Forked] = []
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, bufsize=0
            )
        self.pid = self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until the server has finished importing.

        Raises:
            ForkServerError: the imports failed, or left the server in a state that cannot be forked.
        """
        while not self._is_ready:
            self.read_answers(timeout=None)

    def start(self, output: Path, order: dict[str, Any]) -> Forked:
        """Fork a process that runs the order, with its output going to a file.

        Raises:
            ForkServerError: the server did not start, or has ended.
        """
        self.wait_until_ready()
        assert self._process.stdin is not None
        forked = Forked(self, len(self._forked))
        self._forked.append(forked)
        message = {"number": forked.number, "output": str(output), "order": order}
        with contextlib.suppress(BrokenPipeError):  # it has ended: its answers will say so
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
        while not forked.has_started:
            self.read_answers(timeout=None)
        return forked

    def read_answers(self, timeout: float | None = 0) -> None:
        """Read the answers that have arrived or arrive within `timeout` seconds (None: block until the next one).

        Raises:
            ForkServerError: the server has ended.
        """
        assert self._process.stdout is not None
        poller = select.poll()
        poller.register(self._process.stdout, select.POLLIN)
        while poller.poll(None if timeout is None else 1000 * timeout):
            timeout = 0
            part = os.read(self._process.stdout.fileno(), 65536)
            if not part:
                raise ForkServerError(self._describe_end())
            *lines, self._buffer = (self._buffer + part).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, answer: dict[str, Any]) -> None:
        if "number" in answer:
            self._forked[answer["number"]].take(answer)
        elif "failure" in answer:
            raise ForkServerError(answer["failure"])
        else:
            self._is_ready = True

    def _describe_end(self) -> str:
        code = self._process.wait()
        printed = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        cause = f"signal {-code}" if code < 0 else printed[-1] if printed else f"exit code {code}"
        return f"the process that starts stages has ended ({cause})"

    def close(self) -> None:
        """End the server and its processes; return when they have ended."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        if not self._is_ready:  # it is not reading input yet, and has no processes
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._process.kill()
        self._process.wait()
        left = [forked.process for forked in self._forked if forked.exit_code is None and forked.process is not None]
        end_processes([process for root in left for process in (*descendants(root), root)])  # left by a killed server


def serve(modules: Sequence[str], run: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Import the modules, then for each order fork a process that calls `run` with it. Never returns."""
    parent, answers = os.getppid(), os.dup(1)
    os.dup2(2, 1)  # output of libraries is not an answer

    def answer(content: dict[str, Any]) -> None:
        os.write(answers, json.dumps(content).encode() + b"\n")

    is_ready = False
    try:
        gc.disable()  # a sixth of the imports' CPU time (MEASURED): they leave little garbage
        for module in modules:
            importlib.import_module(module)
        check_can_fork()
        gc.collect()
        gc.enable()
        gc.freeze()  # else every process's garbage collector would visit the imported objects and copy their pages
        answer({"ready": True})
        is_ready = True
        _fork_at_orders(parent, answers, answer, run)
    except BrokenPipeError:  # the parent has exited
        pass
    except BaseException as error:
        traceback.print_exc()
        if not is_ready:
            answer({"failure": f"{type(error).__name__}: {error}"})
    finally:
        end_processes(descendants(psutil.Process()))
        os._exit(0)


def _fork_at_orders(
    parent: int, answers: int, answer: Callable[[dict[str, Any]], None], run: Callable[[dict[str, Any]], None]
) -> None:
    """Fork on orders and report exits until the input closes or the parent exits."""
    running: dict[int, ForkProcess] = {}
    unread = b""
    while os.getppid() == parent:
        ready = wait([0, *(process.sentinel for process in running.values())], timeout=0.5)
        for number, process in [(n, process) for n, process in running.items() if process.exitcode is not None]:
            answer({"number": number, "exit_code": process.exitcode})
            process.close()
            del running[number]
        if 0 not in ready:
            continue
        part = os.read(0, 65536)
        if not part:
            return
        *lines, unread = (unread + part).split(b"\n")
        for message in map(json.loads, lines):
            check_can_fork()
            process = multiprocessing.get_context("fork").Process(
                target=_run_forked, args=(os.getpid(), answers, message["output"], message["order"], run)
            )
            process.start()
            running[message["number"]] = process
            answer({"number": message["number"], "pid": process.pid})


def _run_forked(
    server: int, answers: int, output: str, order: dict[str, Any], run: Callable[[dict[str, Any]], None]
) -> None:
    os.close(answers)
    log, nothing = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    os.close(nothing)
    os.close(log)
    exit_with_parent(server)
    run(order)


def check_can_fork() -> None:
    """Raise RuntimeError if this process runs threads or has used CUDA: neither works in a forked process."""
    names = [_thread_name(thread) for thread in os.listdir("/proc/self/task") if int(thread) != os.getpid()]
    if names:
        raise RuntimeError(f"threads run that a fork would not copy: {', '.join(sorted(names))}")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("CUDA has been used, and a forked process cannot use it again")


def _thread_name(thread: str) -> str:
    try:
        return Path(f"/proc/self/task/{thread}/comm").read_text().strip()
    except OSError:
        return "one that has just ended"
