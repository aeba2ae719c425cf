"""Sample with vLLM in a separate process, so that all GPU memory is freed when it exits.

Closing an engine frees none within its process: on an H100, 72.8 of 79.2 GiB stayed in use, so scoring the completions
would run out of memory.
"""

import collections
import contextlib
import itertools
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, NoReturn

import psutil

import repro
from repro.errors import InputError
from repro.generation import watchdog
from repro.generation.completion import Completion
from repro.generation.server import first_error
from repro.generation.vllm_child import Message, receive, receive_completions, send
from repro.system.child_processes import WAS_KILLED, has_exited
from repro.system.gpus import free_gib

START_SECONDS = 7200.0
"""ASSUMED: an engine that has not started after this many seconds counts as hung. Large weights load for half an hour from a
slow disk."""
CLOSE_SECONDS = 60.0
"""Seconds for vLLM to end its workers before all its processes are killed."""
FREED_SECONDS = 30.0
"""Seconds for the driver to free the memory of exited processes."""
TOLERANCE_GIB = 1.0
"""GiB of free memory that may be missing, compared with before vLLM started, without a warning."""
LOG_SECONDS = 5.0
"""Seconds for an engine's processes to close their output when they end."""
KEPT_LINES = 5000
STDERR = 2
"""The file descriptor, which the engine would write to itself: `sys.stderr` may be gone when its last line arrives."""


class EngineError(RuntimeError):
    """vLLM's process did not start, failed, or was killed; the message is the cause."""


class VllmProcess:
    """A `VllmEngine` in a separate process, which exits when this one does, even if this one is killed.

    Args:
        max_length: prompt plus completion, tokens.
        tensor_parallel: GPUs over which vLLM shards the model.

    Raises:
        EngineError: the engine did not start.
        InputError: vLLM is not installed, or the model cannot be used.
    """

    def __init__(self, model: Path | str, max_length: int, tensor_parallel: int = 1) -> None:
        self._free_before = free_gib()
        self._connection, remote = multiprocessing.Pipe()
        command = [sys.executable, "-P", "-m", "repro.generation.vllm_child", str(os.getpid()), str(remote.fileno())]
        command += [str(model), str(max_length), str(tensor_parallel)]
        paths = [str(Path(repro.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            pass_fds=[remote.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only the stage, which then ends it
        )
        assert self._process.stdout is not None
        self._printed = _Printed(self._process.stdout)
        remote.close()
        self._owes_answer = True
        self._workers: list[psutil.Process] = []
        try:
            self._receive(START_SECONDS)
        except BaseException:
            self.close()
            raise
        self._owes_answer = False
        self._workers = self._descendants()

    def generate(
        self, prompt_ids: list[list[int]], n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Completion]]:
        """See `Engine.generate`. Raises EngineError."""
        self._owes_answer = True
        request = {"prompt_ids": prompt_ids, "n": n, "max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        try:
            send(self._connection, request)
        except OSError:
            self._raise_end()
        head = self._receive()
        try:
            completions = receive_completions(self._connection, head)
        except (EOFError, OSError):
            self._raise_end()
        self._owes_answer = False
        return completions

    def close(self) -> None:
        """End the process and its workers, wait until they have exited, and log how much memory is free.

        An engine with an unanswered request (after an error or an interrupt) is killed.
        """
        if self._connection.closed:
            return
        processes = [*self._workers, *self._descendants()]
        if not self._owes_answer:
            try:
                send(self._connection, {"close": True})
                self._process.wait(CLOSE_SECONDS)
            except (OSError, subprocess.TimeoutExpired):
                print(f"vLLM did not end within {CLOSE_SECONDS:.0f} s; it is killed", file=sys.stderr, flush=True)
        self._process.kill()
        self._process.wait()
        self._connection.close()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        deadline = time.monotonic() + CLOSE_SECONDS
        while not all(map(has_exited, processes)) and time.monotonic() < deadline:
            time.sleep(0.1)  # not psutil.wait_procs: a container's init may leave zombies, which hold no memory
        self._printed.wait()
        if self._free_before:
            _report_memory(self._free_before)

    def _receive(self, limit: float = math.inf) -> Message:
        """Return the next message; raise the error that it holds, or that the process ended with.

        Args:
            limit: seconds after which the process counts as hung.
        """
        started = time.monotonic()
        try:
            while not self._connection.poll(1.0):  # workers may hold the connection open
                if self._process.poll() is not None and not self._connection.poll():
                    self._raise_end()
                if time.monotonic() - started > limit:
                    raise EngineError(
                        f"vLLM did not start within {limit:.0f} s. If it uses several GPUs, they may be unable to reach each"
                        " other's memory: set NCCL_P2P_DISABLE=1."
                    )
            message = receive(self._connection)
        except (EOFError, OSError):
            self._raise_end()
        if "input_error" in message:
            raise InputError(message["input_error"])
        if "errors" in message:
            error = _rebuild(message["errors"])
            if "initialization failed" in str(error) and (cause := first_error(self._printed.text())):
                raise EngineError(cause) from error  # a worker's error, which vLLM only logs
            raise error
        return message

    def _raise_end(self) -> NoReturn:
        """Raise an error that says how the process ended, since it sent none itself."""
        try:
            code = self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            raise EngineError("vLLM's process closed its connection and still runs") from None
        if code == -signal.SIGKILL:
            raise EngineError(f"vLLM's process {WAS_KILLED}") from None
        if code == watchdog.EXIT_CODE:
            cause = first_error(self._printed.text()) or (
                "its log has no error; the system kills processes when the machine's memory is full"
            )
            raise EngineError(f"one of vLLM's worker processes ended: {cause}") from None
        raise EngineError(f"vLLM's process ended without an answer (exit {code})") from None

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


class _Printed:
    """Forwards the output of an engine's processes to standard error, and keeps its last lines.

    Args:
        stream: their combined output.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: collections.deque[bytes] = collections.deque(maxlen=KEPT_LINES)
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait briefly for those processes to end."""
        self._thread.join(LOG_SECONDS)

    def text(self) -> str:
        """Return the last lines printed, after waiting for the processes to end."""
        self.wait()
        return b"".join(self._lines).decode(errors="replace")

    def _pass_on(self) -> None:
        with self._stream:
            for line in self._stream:
                self._lines.append(line)
                with contextlib.suppress(OSError):
                    os.write(STDERR, line)


def _rebuild(texts: list[str]) -> EngineError:
    """Rebuild the child's error with its causes, which say whether memory ran out."""
    errors = [EngineError(text) for text in texts]
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def _report_memory(before: dict[str, float]) -> None:
    """Log the free GPU memory and that before vLLM started; warn if it is now less."""
    deadline = time.monotonic() + FREED_SECONDS
    while True:
        after = free_gib()
        is_free = all(after.get(gpu, 0.0) >= gib - TOLERANCE_GIB for gpu, gib in before.items())
        if is_free or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    gpus = "; ".join(f"{gpu} {gib:.1f} GiB before, {after.get(gpu, 0.0):.1f} after" for gpu, gib in before.items())
    warning = "" if is_free else " (less: another program uses the GPU, or the driver has not freed it)"
    print(f"free GPU memory around vLLM: {gpus}{warning}", file=sys.stderr, flush=True)
