"""Run by torchrun in `test_sharding.py` on two gloo processes: sharded models compared with unsharded ones."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import TrainingArguments
from trl.distributed import DistributedBackend
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer.utils import add_fused_lm_head

from repro.models.loading import load_for_training, load_model
from repro.training.non_finite import check_finite
from repro.training.optimisation import RANK_TIMEOUT, trainer_arguments
from repro.training.resources import TrainingResources
from repro.training.sharding import prepare_sharding, shard_frozen, unsharded_state

IDS = torch.randint(10, 60, (2, 7), generator=torch.Generator().manual_seed(0))


ALONE = SimpleNamespace(
    state=SimpleNamespace(deepspeed_plugin=None, fsdp_plugin=None), device=torch.device("cpu")
)  # the part of an accelerator that the weight sync of one process reads


def policy(folder: Path) -> Any:
    torch.manual_seed(0)
    adapter = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_for_training(folder), adapter)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    return model


def sent(model: Any, accelerator: Any) -> dict[str, torch.Tensor]:
    """Return what TRL's weight sync would send to vLLM."""
    sync = VLLMGeneration.__new__(VLLMGeneration)
    sync.model, sync.accelerator, sync._dist = model, accelerator, DistributedBackend(accelerator)
    return {name: parameter.detach().clone() for name, parameter in sync._iter_named_params()}


def step(model: Any, optimizer: Any) -> float:
    loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def main(qwen: Path, gemma: Path) -> None:
    shared = {"steps": 1, "learning_rate": 1.0, "warmup_fraction": 0.0, "seed": 0, "sequences": 2}
    shared |= {"work": qwen / "work", "parameters": 1, "resources": TrainingResources(shard=True)}
    arguments = TrainingArguments(**trainer_arguments(**shared))  # type: ignore[arg-type]
    alone, sharded = policy(qwen), policy(qwen)
    prepare_sharding(arguments, sharded)
    accelerator = Accelerator(cpu=True, fsdp_plugin=FullyShardedDataParallelPlugin(**arguments.fsdp_plugin_args))

    # A frozen teacher of another architecture, before the trained model: the trained model's layers remain its units
    teacher, plain = load_model(gemma, to_gpu=False), load_model(gemma)
    shard_frozen(accelerator, teacher)
    local = sum(parameter.to_local().numel() for parameter in teacher.parameters())
    assert 0.4 < local / plain.num_parameters() < 0.6
    with torch.no_grad():
        torch.testing.assert_close(teacher(IDS).logits, plain(IDS).logits)
    assert all(isinstance(layer, FSDPModule) for layer in teacher.model.layers)

    optimizers = [torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr=1e-2) for m in (alone, sharded)]
    sharded, optimizers[1] = accelerator.prepare(sharded, optimizers[1])
    layers = sharded.get_base_model().model.layers
    assert all(isinstance(layer, FSDPModule) for layer in layers)
    base = {n: p.full_tensor().clone() for n, p in sharded.named_parameters() if not p.requires_grad}
    for _ in range(3):
        expected, actual = sent(alone, ALONE), sent(sharded, accelerator)
        assert expected.keys() == actual.keys()
        for name, weight in expected.items():
            torch.testing.assert_close(actual[name], weight, atol=1e-6, rtol=1e-5)
        assert abs(step(alone, optimizers[0]) - step(sharded, optimizers[1])) < 1e-5
    for name, parameter in sharded.named_parameters():  # merged and unmerged three times: unchanged
        if not parameter.requires_grad:
            torch.testing.assert_close(parameter.full_tensor(), base[name], atol=1e-6, rtol=0)

    weight = layers[0].mlp.down_proj.base_layer.weight  # the ranks of FSDP's mesh wait as long as all others
    assert weight.device_mesh.get_group()._get_backend(torch.device("cpu")).options._timeout == RANK_TIMEOUT

    state = unsharded_state(sharded)
    assert state is not None
    assert unsharded_state(alone) is None
    trained = {n: p for n, p in alone.named_parameters() if p.requires_grad}
    if accelerator.is_main_process:
        assert state.keys() == trained.keys(), sorted(state.keys() ^ trained.keys())
        for name, weight in state.items():
            torch.testing.assert_close(weight, trained[name].detach(), atol=1e-5, rtol=1e-4)

    check_finite(sharded)
    weight = layers[-1].mlp.down_proj.base_layer.weight
    assert isinstance(weight, DTensor)
    if accelerator.process_index == 1:  # the other rank's shard is finite, and it fails all the same
        weight.to_local()[-1, -1] = float("nan")
    with pytest.raises(RuntimeError, match=r"layers.1.mlp.down_proj"):
        check_finite(sharded)

    # Log-probabilities leave the outermost module unrounded; accelerate's own policy for bf16 rounds them
    arguments = TrainingArguments(**trainer_arguments(**shared) | {"bf16": True})  # type: ignore[arg-type]
    prepare_sharding(arguments)
    rounding = MixedPrecisionPolicy(torch.bfloat16, torch.bfloat16, torch.bfloat16)
    scores = []
    for mixed in (arguments.fsdp_plugin_args["mixed_precision_policy"], rounding):
        model = load_model(qwen)
        add_fused_lm_head(model)
        fully_shard(model, mp_policy=mixed)
        with torch.no_grad():
            scores.append(model(input_ids=IDS, labels=IDS, fused_lm_head=True).log_probs)
    assert scores[0].dtype == torch.float32
    assert not torch.equal(scores[0], scores[0].bfloat16().float())
    assert scores[1].dtype == torch.bfloat16


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
