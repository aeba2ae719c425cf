"""The weights that reach a server over NCCL: merged adapters to the last one, in the dtype that is served."""

import contextlib
import types
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration

from repro.training.server_client import ServerClient


@pytest.fixture
def received(monkeypatch):
    """Names and weights that vLLM's packets would hold: it joins a packet's weights when the last has been taken."""
    weights = {}

    def pack(_self, metadata, named_params):
        packet = list(named_params)
        assert [(name, str(w.dtype).removeprefix("torch."), list(w.shape)) for name, w in packet] == metadata
        weights.update((name, tensor.clone()) for name, tensor in packet)

    monkeypatch.setattr(VLLMClient, "update_named_params", pack)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: types.SimpleNamespace(synchronize=lambda: None))
    return weights


@pytest.fixture
def generation(student):
    """TRL's generation of a model with adapters that are not zero."""
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    generation = VLLMGeneration.__new__(VLLMGeneration)
    generation.model = get_peft_model(AutoModelForCausalLM.from_pretrained(student), config)
    generation._dist = types.SimpleNamespace(gather_params=lambda _: contextlib.nullcontext(), is_fsdp=False)
    return generation


def test_the_server_gets_the_merged_weights_in_bfloat16(received, generation):
    merged = {name: weights.clone() for name, weights in generation._iter_named_params()}
    metadata = [(name, "float32", list(weights.shape)) for name, weights in merged.items()]
    client = ServerClient.__new__(ServerClient)
    client.communicator = object()
    client.update_named_params(metadata, generation._iter_named_params())
    assert received.keys() == merged.keys()
    assert all(torch.equal(received[name], weights.bfloat16()) for name, weights in merged.items())
    unmerged = {name.replace(".base_layer", ""): w for name, w in generation.model.model.named_parameters()}
    assert any(not torch.equal(merged[name], unmerged[name]) for name in merged)


def test_no_more_than_two_copies_are_alive(monkeypatch, received):
    """Those that vLLM's packet holds come on top; all at once would not fit beside the trainer."""
    taken, alive = [], []

    def take(_self, _metadata, named_params):
        for _, weights in named_params:
            taken.append(weakref.ref(weights))
            del weights
            alive.append(sum(copy() is not None for copy in taken))

    monkeypatch.setattr(VLLMClient, "update_named_params", take)
    client = ServerClient.__new__(ServerClient)
    client.communicator = object()
    client.update_named_params([], ((str(n), torch.zeros(3)) for n in range(9)))
    assert len(alive) == 9
    assert max(alive) <= 2
