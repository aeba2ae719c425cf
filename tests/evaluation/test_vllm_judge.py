"""A judge behind vLLM's own server, with an embedded model."""

import importlib.util
import os
import socket
import subprocess
import sys
import time

import pytest

from repro.errors import InputError
from repro.evaluation.chat_client import ChatClient
from repro.models.endpoint import Endpoint
from repro.models.loading import locate

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (extra cpu or gpu)"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    # the `vllm` command asks for the version of a package that the CPU's build does not have
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(locate("toy:qwen3-student"))]
    command += ["--served-model-name", "org/toy", "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--gpu-memory-utilization", "0.1"]
    with log.open("w") as stream:
        environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        until = time.monotonic() + 500
        while process.poll() is None and time.monotonic() < until:
            try:
                chat(url).list_models()
                break
            except InputError:
                time.sleep(1)
        else:
            pytest.fail(f"vLLM's server did not come up:\n{log.read_text()[-9000:]}")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def chat(url, model="org/toy"):
    return ChatClient(Endpoint(url, model), max_tokens=8, temperature=0.01, seed=0)


def test_the_model_replies(url):
    assert chat(url).list_models() == ["org/toy"]
    replies = [chat(url).reply("who emil rival kofi A zola B hugo C lena D tomo E") for _ in range(2)]
    assert replies[0] == replies[1] != ""


def test_a_refusal_of_vllm_is_one_line(url):
    with pytest.raises(InputError, match=r"has no such model \(404\)\. It has: org/toy\."):
        chat(url, "org/typo").reply("start 3")
    with pytest.raises(InputError, match=r"400 .*Fix what the server reports"):
        chat(url).reply("start 3 " * 5000)
