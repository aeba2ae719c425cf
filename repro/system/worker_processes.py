"""Run calls in separate processes, several at once: each has its own memory, and a killed one is an error."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from repro.errors import StageError
from repro.progress import Progress, silent
from repro.system.child_processes import block_signals, exit_with_parent
from repro.system.fork_server import CAN_FORK

Result = TypeVar("Result")


def startable(waiting: list[str], unfinished: set[str], after: Mapping[str, str]) -> list[str]:
    """Return the waiting calls that can start, i.e. whose predecessor has finished."""
    return [name for name in waiting if after.get(name) not in unfinished]


def call_in_processes(
    calls: Mapping[str, Callable[[], Result]],
    *,
    workers: int,
    preload: str,
    after: Mapping[str, str] | None = None,
    progress: Progress = silent,
    unit: str = "calls",
    advice: str = "",
) -> dict[str, Result]:
    """Run each call in its own process and return the results by name, in the order of `calls`.

    The processes are forked from one that has imported `preload`; where forking is not safe, each imports it anew.

    Args:
        calls: picklable functions, or partials of them; what they return or raise must be picklable too.
        workers: number of concurrent processes.
        preload: module already imported in the forked processes.
        after: call -> the call that must finish before it starts, if among `calls`.
        progress: called when a process starts or ends, with the names of the running calls as its note.
        advice: appended to the message about a killed process.

    Raises:
        Exception: whatever a call raised; the others are terminated.
        StageError: a process exited without a result.
        ValueError: no workers, or calls that wait for each other.
    """
    context: ForkServerContext | SpawnContext
    context = multiprocessing.get_context("forkserver") if CAN_FORK else multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # before the signal is blocked: it unblocks it
    if CAN_FORK:
        context.set_forkserver_preload([preload])
        with block_signals(signal.SIGINT):  # Ctrl-C goes to the caller, which ends its processes
            forkserver.ensure_running()
    waiting, results = list(calls), dict[str, Result]()
    running: dict[Connection, tuple[str, BaseProcess]] = {}
    try:
        while len(results) < len(calls):
            for name in startable(waiting, set(calls) - set(results), after or {})[: workers - len(running)]:
                waiting.remove(name)
                receiver, sender = context.Pipe(duplex=False)
                worker = context.Process(target=_call_and_send, args=(sender, os.getpid(), calls[name]))
                with block_signals(signal.SIGINT):  # Ctrl-C waits, else a process could be missing from `running`
                    worker.start()
                    running[receiver] = name, worker
                sender.close()
            if not running:
                raise ValueError(f"{', '.join(waiting)}: none can start: workers={workers}, after={after}.")
            progress(len(results), len(calls), unit, ", ".join(name for name, _ in running.values()))
            for ended in cast(list[Connection], wait(list(running))):
                name, process = running[ended]
                results[name] = _receive(name, ended, process, advice)
                del running[ended]
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
    return {name: results[name] for name in calls}


def _call_and_send(sender: Connection, caller: int, call: Callable[[], Any]) -> None:
    """Run the call and send what it returned or raised."""
    exit_with_parent(caller)
    try:
        sender.send(call())
    except Exception as error:
        sender.send(error)


def _receive(name: str, receiver: Connection, process: BaseProcess, advice: str) -> Any:
    try:
        outcome = receiver.recv()
    except EOFError:
        process.join()
        raise StageError(
            f"{name}: its process ended without a result (exit code {process.exitcode}).{advice}"
        ) from None
    process.join()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
