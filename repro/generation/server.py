"""A stage's vLLM server for the model in training: completions over loopback, new weights each step.

The alternative is an engine in the trainers' process that sleeps while they compute (`training.vllm_policy`). With a
server the trainers keep their GPU memory, and the server may shard the model over several other GPUs.
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

from repro.generation.gpu_share import check_slices, own_share_now
from repro.generation.watchdog import Watchdog
from repro.models.loading import hub_revision
from repro.system.child_processes import kill_children

LOG = "vllm-server.log"
LOCALHOST = "127.0.0.1"
"""Loopback only, not reachable from other machines: a server that accepts weights obeys anyone who can connect."""
HOST_VARIABLE = "VLLM_HOST_IP"
"""Where trainer and server meet for the transfer of weights; by default the machine's address in its network."""
STALL_TIMEOUT = 1800.0
"""A server counts as hung after this many seconds of loading without a new log line or an answer."""
_PREFIX = re.compile(r"^(\([\w-]+ pid=\d+\) )?((INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] )?")
"""Prefix of a vLLM log line: process, time, source location."""
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class ServerPlacement:
    """GPUs of a server.

    Attributes:
        workers: GPUs (on a CPU: processes) over which it shards the model.
        gpus: their names, as in CUDA_VISIBLE_DEVICES; empty without GPUs.
    """

    workers: int
    gpus: tuple[str, ...] = ()


class ServerError(RuntimeError):
    """The server failed to start; the message is taken from its log."""


@contextlib.contextmanager
def vllm_server(model: Path | str, max_length: int, placement: ServerPlacement, work: Path) -> Iterator[str]:
    """Start a server of `model`, yield its address, and stop it on leaving.

    Args:
        model: initial weights; the trainer sends new ones before the first completion.
        max_length: prompt plus completion, tokens.
        work: receives the server's log.

    Raises:
        InputError: another process fills one of the GPUs, or vLLM cannot find it.
        ServerError: the server did not start; the message is the cause from its log.
    """
    port, name = free_port(), uuid.uuid4().hex
    log = work / LOG
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "repro.generation.serve", str(os.getpid())]
    command += _serve_arguments(model, name, max_length, placement, port)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=_environment(placement), stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )  # Ctrl-C reaches only the stage, which then stops the server
    watch: Watchdog | None = None
    try:
        _wait_until_up(process, port, name, log)
        watch = Watchdog(process.pid)
        yield f"http://{LOCALHOST}:{port}"
    finally:
        if watch is not None:
            watch.stop()
        _stop(process)


def _serve_arguments(model: Path | str, name: str, max_length: int, placement: ServerPlacement, port: int) -> list[str]:
    revision = hub_revision(model)
    arguments = [str(model), "--served-model-name", name, "--max-model-len", str(max_length)]
    arguments += ["--host", LOCALHOST, "--port", str(port)]
    arguments += ["--tensor-parallel-size", str(placement.workers), "--logprobs-mode", "processed_logprobs"]
    arguments += ["--disable-uvicorn-access-log", "--disable-log-stats"]
    arguments += ["--revision", revision, "--tokenizer-revision", revision] if revision else []
    if placement.gpus:
        check_slices(placement.gpus)
        share = own_share_now(placement.gpus, receives_weights=True)
        arguments += ["--gpu-memory-utilization", str(share)]
        return [*arguments, "--weight-transfer-config", '{"backend": "nccl"}']
    arguments += ["--gpu-memory-utilization", "0.3"]  # on a CPU: the share of memory that must be free
    return [*arguments, "--enforce-eager", "--worker-extension-cls", "repro.generation.vllm_worker.WeightsFromFile"]


def _environment(placement: ServerPlacement) -> dict[str, str]:
    """Return this process's environment, without torchrun's variables and with the weight endpoints enabled."""
    environment = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    environment = {name: value for name, value in environment.items() if not name.startswith("TORCHELASTIC_")}
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # a server's engine is a separate process
    environment.pop("VLLM_API_KEY", None)  # the user's key for another server; TRL's client sends none
    environment |= {"VLLM_SERVER_DEV_MODE": "1", HOST_VARIABLE: LOCALHOST}
    if placement.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(placement.gpus)
        return environment
    environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; by default it takes all that is allowed
    if placement.workers > 1:
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # else it requires a NUMA node for each worker
    return environment


def _wait_until_up(process: subprocess.Popen[bytes], port: int, name: str, log: Path) -> None:
    """Wait until our server answers; another process may have taken the port meanwhile."""
    deadline, logged = time.monotonic() + STALL_TIMEOUT, 0
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
            deadline, logged = time.monotonic() + STALL_TIMEOUT, size
        if time.monotonic() > deadline:
            raise ServerError(
                f"the vLLM server neither answered nor logged anything for {STALL_TIMEOUT:.0f} s; its log is {log}"
            )
        time.sleep(0.5)


def cause_in(log: str) -> str:
    """Return from its log why a server ended: the first error of one of its processes, else the last line."""
    last = next((line for line in reversed(_messages(log)) if line), "its log is empty")
    return first_error(log) or last


def first_error(log: str) -> str | None:
    """Return the first error in a vLLM log; the parent process counts only if no other process logged one."""
    lines = _messages(log)
    named = [
        # pydantic names the reason on the next line
        f"{line}: {lines[n + 1]}" if "validation error" in line and n + 1 < len(lines) else line
        for n, line in enumerate(lines)
        if re.match(r"[\w.]*(Error|Exception)\b[:(]", line)
    ]
    causes = [
        line for line in named if "initialization failed" not in line
    ]  # logged by the parent process, without the reason
    return next(iter(causes or named), None)


def _messages(log: str) -> list[str]:
    return [_PREFIX.sub("", line).strip() for line in log.splitlines()]


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as listener:
        listener.bind((LOCALHOST, 0))
        return int(listener.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(psutil.NoSuchProcess):
                kill_children(psutil.Process(process.pid))
            process.kill()
            process.wait()
