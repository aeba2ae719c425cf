"""On a GPU each test with vLLM runs in a process of its own: an engine that can sleep starts once in a process."""

import os
import subprocess
import sys

import pytest
import torch

NESTED = "REPRO_TEST_PROCESS"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    marks = {mark.name for mark in pyfuncitem.iter_markers()}
    if not {"vllm", "gpu"} <= marks or NESTED in os.environ or not torch.cuda.is_available():
        return None
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", pyfuncitem.nodeid]
    done = subprocess.run(
        command, cwd=pyfuncitem.config.rootpath, env=os.environ | {NESTED: "1"}, capture_output=True, text=True
    )
    if done.returncode:
        pytest.fail((done.stdout + done.stderr)[-4000:], pytrace=False)
    return True
