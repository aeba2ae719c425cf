"""A vLLM server of the stage's own for the model that is being trained: completions over loopback, new weights each step.

The other way is an engine in the trainers' own process, asleep while they compute (`training.vllm_policy`). With a server
the trainers keep their GPUs' memory, and the server may spread the model over several GPUs of its own.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from repro.generation.watchdog import Watchdog
from repro.models.loading import hub_revision
from repro.system.child_processes import kill_children

LOG = "vllm-server.log"
LOCALHOST = "127.0.0.1"
"""No other machine can reach it: a server that takes weights does what it is told, by anybody on this one."""
PATIENCE = 1800.0
"""Seconds without a new line in its log, or an answer, after which a server that loads its model counts as hung."""
_PREFIX = re.compile(r"^(\([\w-]+ pid=\d+\) )?((INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] )?")
"""Of a line of vLLM's log: which process, when, where in its source."""
OF_THE_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class ServerPlacement:
    """Where a server runs.

    Attributes:
        workers: GPUs (on a CPU: processes) that it spreads the model over.
        gpus: their names, as CUDA_VISIBLE_DEVICES has them; none where there is no GPU.
    """

    workers: int
    gpus: tuple[str, ...] = ()


class ServerError(RuntimeError):
    """The server did not come up. Its words are the log's."""


@contextlib.contextmanager
def vllm_server(model: Path | str, max_length: int, place: ServerPlacement, work: Path) -> Iterator[str]:
    """The address of a server of `model`, ended on leaving.

    Args:
        model: what it starts from; the trainer sends weights before the first completion.
        max_length: prompt plus completion, tokens.
        work: gets the server's log.

    Raises:
        ServerError: it did not come up; the message is the log's cause.
    """
    port, name = free_port(), uuid.uuid4().hex
    log = work / LOG
    work.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "repro.generation.serve", str(os.getpid())]
    words += _words(model, name, max_length, place, port)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            words, env=_environment(place), stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )  # a terminal's Ctrl-C is the stage's, which then ends it
    watch: Watchdog | None = None
    try:
        _until_up(process, port, name, log)
        watch = Watchdog(process.pid)
        yield f"http://{LOCALHOST}:{port}"
    finally:
        if watch is not None:
            watch.stop()
        _end(process)


def _words(model: Path | str, name: str, max_length: int, place: ServerPlacement, port: int) -> list[str]:
    revision = hub_revision(model)
    words = [str(model), "--served-model-name", name, "--max-model-len", str(max_length)]
    words += ["--host", LOCALHOST, "--port", str(port)]
    words += ["--tensor-parallel-size", str(place.workers), "--logprobs-mode", "processed_logprobs"]
    words += ["--disable-uvicorn-access-log", "--disable-log-stats"]
    words += ["--revision", revision, "--tokenizer-revision", revision] if revision else []
    if place.gpus:
        return [*words, "--weight-transfer-config", '{"backend": "nccl"}']
    words += ["--gpu-memory-utilization", "0.3"]  # on a CPU: the share of its memory that must be free
    return [*words, "--enforce-eager", "--worker-extension-cls", "repro.generation.vllm_worker.WeightsFromFile"]


def _environment(place: ServerPlacement) -> dict[str, str]:
    """This process's, without what torchrun told its ranks, and with the endpoints that take weights."""
    own = {name: value for name, value in os.environ.items() if name not in OF_THE_RANKS}
    own = {name: value for name, value in own.items() if not name.startswith("TORCHELASTIC_")}
    own.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # a server's engine is a process of its own
    own.pop("VLLM_API_KEY", None)  # a person's, for another server; TRL's client sends none
    own["VLLM_SERVER_DEV_MODE"] = "1"
    if place.gpus:
        own["CUDA_VISIBLE_DEVICES"] = ",".join(place.gpus)
        return own
    own.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; of itself it takes all that it may
    if place.workers > 1:
        own.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # else it wants a NUMA node for each worker
    return own


def _until_up(process: subprocess.Popen[bytes], port: int, name: str, log: Path) -> None:
    """Until what answers at the port is this very server: the port was free a moment before, for everybody."""
    deadline, logged = time.monotonic() + PATIENCE, 0
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        if process.poll() is not None:
            raise ServerError(f"the vLLM server did not start: {cause_in(log.read_text(errors='replace'))}")
        try:
            with direct.open(f"http://{LOCALHOST}:{port}/v1/models", timeout=5) as answer:
                if name in answer.read().decode():
                    return
        except OSError:
            pass
        if (size := log.stat().st_size) > logged:
            deadline, logged = time.monotonic() + PATIENCE, size
        if time.monotonic() > deadline:
            raise ServerError(
                f"the vLLM server neither answered nor logged anything for {PATIENCE:.0f} s; its log is {log}"
            )
        time.sleep(0.5)


def cause_in(log: str) -> str:
    """What a server's log tells of its end: the first error that one of its processes met itself, else the last line."""
    lines = [_PREFIX.sub("", line).strip() for line in log.splitlines()]
    named = [
        # pydantic tells what is wrong on the next line
        f"{line}: {lines[n + 1]}" if "validation error" in line and n + 1 < len(lines) else line
        for n, line in enumerate(lines)
        if re.match(r"[\w.]*(Error|Exception)\b[:(]", line)
    ]
    telling = [line for line in named if "initialization failed" not in line]  # the process above it says only this
    return next(iter(telling or named), next((line for line in reversed(lines) if line), "its log is empty"))


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as found:
        found.bind((LOCALHOST, 0))
        return int(found.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(psutil.NoSuchProcess):
                kill_children(psutil.Process(process.pid))
            process.kill()
            process.wait()
