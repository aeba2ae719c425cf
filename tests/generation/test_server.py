"""The server's command, its environment, and what its log says; starting one is in tests/training/test_vllm_server.py."""

import pytest

from repro.generation import server
from repro.generation.server import ServerPlacement, cause_in

LOG = """\
INFO 11-24 15:34:20 [utils.py:233] non-default args: {'max_model_len': 256}
(APIServer pid=1) INFO 11-24 15:34:21 [model.py:1] Resolved architecture: Qwen3ForCausalLM
(EngineCore pid=2) ERROR 11-24 15:34:40 [core.py:9] EngineCore failed to start.
(EngineCore pid=2) ERROR 11-24 15:34:40 [core.py:9] Traceback (most recent call last):
(EngineCore pid=2) ERROR 11-24 15:34:40 [core.py:9]   File "core.py", line 1, in __init__
(VllmWorker-0 pid=3) ERROR 11-24 15:34:40 [core.py:9] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "entry.py", line 1, in main
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_the_cause_is_the_engines_error_and_not_the_servers():
    assert cause_in(LOG) == "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB."
    assert cause_in(LOG.split("(EngineCore")[0] + LOG[LOG.index("(APIServer pid=1) Traceback") :]).startswith(
        "RuntimeError: Engine core"
    )
    refused = "pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, too long [type=value]\n    For more\n"
    assert cause_in(refused) == f"{refused.splitlines()[0]}: Value error, too long [type=value]"
    assert cause_in("Killed\n\n") == "Killed"
    assert cause_in("") == "its log is empty"


def test_a_server_does_not_inherit_the_ranks_environment(monkeypatch):
    for name in (
        "RANK",
        "WORLD_SIZE",
        "MASTER_PORT",
        "TORCHELASTIC_RUN_ID",
        "VLLM_ENABLE_V1_MULTIPROCESSING",
        "VLLM_API_KEY",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    environment = server._environment(ServerPlacement(2, ("2", "3")))
    assert environment["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert environment["VLLM_SERVER_DEV_MODE"] == "1"
    assert environment["VLLM_HOST_IP"] == "127.0.0.1"  # where weights are received
    assert "VLLM_API_KEY" not in environment
    assert not {"RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "VLLM_ENABLE_V1_MULTIPROCESSING"} & set(
        environment
    )


def test_it_listens_on_this_machine_only():
    for placement in (ServerPlacement(1), ServerPlacement(2, ("0", "1"))):
        arguments = server._serve_arguments("model", "name", 64, placement, 1234)
        assert arguments[arguments.index("--host") + 1] == "127.0.0.1"
        assert arguments[arguments.index("--tensor-parallel-size") + 1] == str(placement.workers)
        assert ("--weight-transfer-config" in arguments) == bool(placement.gpus)
        assert ("--worker-extension-cls" in arguments) != bool(placement.gpus)


def test_a_server_that_ends_at_once_is_an_error_with_its_cause(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_serve_arguments", lambda *_: ["--no-such-option"])
    with (
        pytest.raises(server.ServerError, match=r"the vLLM server did not start: \S+"),
        server.vllm_server(tmp_path / "model", 64, ServerPlacement(1), tmp_path),
    ):
        pass
    assert (tmp_path / server.LOG).stat().st_size
