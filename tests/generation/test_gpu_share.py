"""vLLM's share of a GPU of its own: what is free less a margin, as nvidia-smi says, and no slice that it does not find."""

import sys
import types

import pytest
from stub_nvidia_smi import card, install
from tiny_models import save_qwen

from repro.errors import InputError
from repro.generation import server, vllm_engine
from repro.generation.gpu_share import MARGIN_GIB, RECEIVED_GIB, SAMPLING_SHARE, own_share, own_share_now
from repro.generation.server import ServerPlacement
from repro.training import vllm_policy


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Make this a machine with cards of 24 GiB, of which these GiB are free."""

    def make(*free):
        cards = [card(n, f"GPU-{n}", 24576) | {"memory.free": str(gib * 1024)} for n, gib in enumerate(free)]
        install(monkeypatch, tmp_path / "smi", *cards)

    return make


def test_an_idle_card_and_one_that_a_desktop_uses():
    assert (
        own_share(79.2, 79.2) == own_share(23.6, 23.6) == own_share(79.2, 79.2, receives_weights=True) == SAMPLING_SHARE
    )
    assert own_share(24.0, 21.5) == (21.5 - MARGIN_GIB) / 24  # of 24 GiB vLLM's default of 0.92 would need 22.1
    assert own_share(23.6, 23.6, receives_weights=True) == (23.6 - MARGIN_GIB - RECEIVED_GIB) / 23.6


def test_the_fullest_card_decides_now(machine, monkeypatch, tmp_path):
    machine(23.5, 21.5, 1.5)
    assert own_share_now(["GPU-0"]) == round((23.5 - MARGIN_GIB) / 24, 3)
    assert own_share_now(["GPU-0", "GPU-1"]) == round((21.5 - MARGIN_GIB) / 24, 3)
    with pytest.raises(InputError, match=r"vLLM on GPU 2: only 1\.5 of 24\.0 GiB are free\. Stop the other programs"):
        own_share_now(["GPU-1", "GPU-2"])
    machine(10)
    assert own_share_now(["GPU-0"]) == round((10 - MARGIN_GIB) / 24, 3)
    install(monkeypatch, tmp_path / "smi", card(0, "GPU-0", "[N/A]") | {"memory.free": "[N/A]"})
    assert own_share_now(["GPU-0"]) == own_share_now(["MIG-1"]) == SAMPLING_SHARE


def test_a_sampling_stage_and_a_server_state_their_share(machine, monkeypatch, tmp_path):
    machine(16, 22, 12)
    started = {}

    class LLM:
        def __init__(self, **arguments):
            started.update(arguments)

    vllm = types.SimpleNamespace(LLM=LLM, EngineArgs=types.SimpleNamespace(__dataclass_fields__=()))
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setattr(vllm_engine, "_on_cpu", lambda: False)
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "vllm"))
    vllm_engine.VllmEngine(save_qwen(tmp_path / "model", hidden=16, seed=1), 64, tensor_parallel=2)
    assert started["gpu_memory_utilization"] == round((16 - MARGIN_GIB) / 24, 3)
    assert started["tensor_parallel_size"] == 2
    arguments = server._serve_arguments("model", "name", 64, ServerPlacement(2, ("GPU-1", "GPU-2")), 1234)
    share = arguments[arguments.index("--gpu-memory-utilization") + 1]
    assert share == str(round((12 - MARGIN_GIB - RECEIVED_GIB) / 24, 3))


def test_a_slice_that_vllm_does_not_find_is_refused(monkeypatch, tmp_path):
    listing = "GPU 0: H100 (UUID: GPU-0)\n" + "\n".join(
        f"  MIG 3g.40gb     Device  {n}: (UUID: MIG-{n})" for n in range(2)
    )
    install(monkeypatch, tmp_path / "smi", card(0, "GPU-0", "[N/A]", mig="Enabled"), listing=listing)
    assert vllm_engine._gpu_options(1) == {"gpu_memory_utilization": SAMPLING_SHARE}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for start in (
        lambda: vllm_policy._colocated(None, 64, 0.0),
        lambda: vllm_engine._gpu_options(1),
        lambda: server._serve_arguments("model", "name", 64, ServerPlacement(1, ("MIG-1",)), 1234),
    ):
        with pytest.raises(InputError, match="cannot use the MIG slice MIG-1, because it is not the first"):
            start()
