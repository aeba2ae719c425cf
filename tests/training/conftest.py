"""On a GPU each test with vLLM runs in a process of its own: an engine that can sleep starts once in a process.

A vLLM server of such a test gets the last of the GPUs that the test asks for; its trainers see the others.
"""

import os
import subprocess
import sys

import pytest
import torch

from repro.generation.server import ServerPlacement
from repro.system.gpus import visible_gpus

NESTED, SERVER_GPU = "REPRO_TEST_PROCESS", "REPRO_TEST_SERVER_GPU"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    marks = {mark.name for mark in pyfuncitem.iter_markers()}
    if not {"vllm", "gpu"} <= marks or NESTED in os.environ or not torch.cuda.is_available():
        return None
    environment = os.environ | {NESTED: "1"}
    gpus = pyfuncitem.get_closest_marker("gpus")
    if gpus and "server" in pyfuncitem.fixturenames:
        *trainers, server = visible_gpus()[: gpus.args[0]]
        environment |= {"CUDA_VISIBLE_DEVICES": ",".join(trainers), SERVER_GPU: server}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", pyfuncitem.nodeid]
    done = subprocess.run(command, cwd=pyfuncitem.config.rootpath, env=environment, capture_output=True, text=True)
    if done.returncode:
        pytest.fail((done.stdout + done.stderr)[-4000:], pytrace=False)
    return True


@pytest.fixture
def server() -> ServerPlacement:
    """A server on a GPU that the trainers do not see, or on the CPU."""
    return ServerPlacement(1, tuple(filter(None, [os.environ.get(SERVER_GPU)])))
