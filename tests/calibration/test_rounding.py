"""What bfloat16 leaves of a calibration, against the merged weights and full logits themselves."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import save_qwen
from transformers import AutoModelForCausalLM, AutoTokenizer

from repro.calibration.merge import save_merged
from repro.calibration.rounding import (
    completion_logits,
    mean_token_kl,
    round_weights,
    rounding_warning,
    sample_sequences,
    update_survival,
)
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_for_training
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.toy.models import model_folder
from repro.workflow.own_models import StageOptions, calibrate_stage


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are bfloat16 numbers, as those of published models are."""
    folder = save_qwen(tmp_path_factory.mktemp("rounding") / "base", hidden=64, seed=5)
    weights = {name: weight.bfloat16().float() for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def save_adapter(base: Path, folder: Path, scale: float) -> Path:
    """An adapter whose B is random, not zero, times a scale."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    policy = get_peft_model(load_for_training(base), config)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.copy_(scale * torch.randn_like(parameter))
    policy.save_pretrained(folder)
    return folder


def prompts(base: Path) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(base)
    return [prompt_token_ids(tokenizer, f"{n} + {n} = ?") for n in range(3)]


@pytest.mark.parametrize(("scale", "is_lost"), [(0.3, False), (1e-3, True), (2e-4, True)])
def test_rounding_against_the_stored_weights(base: Path, tmp_path: Path, scale: float, is_lost: bool) -> None:
    adapter = save_adapter(base, tmp_path / "adapter", scale)
    rounding = save_merged(base, adapter, tmp_path / "model", prompts(base), 8, seed=0)
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "model"))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    b, m = (torch.cat([w[name].flatten() for name in changed]) for w in (before, after))
    update, rounded = (m - b).double(), (m.bfloat16().float() - b.bfloat16().float()).double()
    assert rounding["bf16_kept"] == pytest.approx(
        float(rounded @ update / (update @ update)), rel=1e-7
    )  # its products are float32
    moved = (m - b) != 0
    assert rounding["bf16_erased"] == pytest.approx(float((moved & (rounded == 0)).sum() / moved.sum()), rel=1e-6)
    assert (rounding["bf16_kept"] < 0.9) is is_lost
    assert bool(rounding_warning(rounding)) is is_lost


def test_the_merged_model_is_stored_unrounded(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path / "adapter", 1e-3)
    save_merged(base, adapter, tmp_path / "model", prompts(base), 8, seed=0)
    plain = PeftModel.from_pretrained(load_for_training(base), str(adapter)).merge_and_unload()
    plain.save_pretrained(tmp_path / "plain")
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("model", "plain")]
    assert files[0] == files[1]
    first, second = (
        json.loads((tmp_path / name / "generation_config.json").read_text()) for name in ("model", "plain")
    )
    assert first == second


def test_token_kl_against_a_sum_over_the_vocabulary(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path / "adapter", 0.05)
    rounding = save_merged(base, adapter, tmp_path / "model", prompts(base), 8, seed=3)
    merged, untouched = (AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (tmp_path / "model", base))
    sequences = sample_sequences(merged, prompts(base), 8, seed=3)
    rounded = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    for parameter in rounded.parameters():
        parameter.data = parameter.data.to(torch.bfloat16).to(torch.float32)
    sums: dict[str, list[float]] = {"bf16_kl": [], "calibration_kl": []}
    for prompt, sequence in zip(prompts(base), sequences):
        for position in range(len(prompt), len(sequence)):
            context = torch.tensor([sequence[:position]])
            with torch.no_grad():
                p, r, q = (m(context).logits[0, -1].double().log_softmax(-1) for m in (merged, rounded, untouched))
            sums["bf16_kl"].append(float((p.exp() * (p - r)).sum()))
            sums["calibration_kl"].append(float((p.exp() * (p - q)).sum()))
    for name, values in sums.items():
        assert rounding[name] == pytest.approx(sum(values) / len(values), rel=1e-3, abs=1e-9)


def test_sampling_leaves_random_numbers_and_settings_alone(base: Path) -> None:
    model = load_for_training(base)
    config, state = model.generation_config, torch.get_rng_state()
    first = sample_sequences(model, prompts(base), 8, seed=1)
    assert model.generation_config is config
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert sample_sequences(model, prompts(base), 8, seed=1) == first
    logits = completion_logits(model, prompts(base), first)
    assert [len(part) for part in logits] == [len(s) - len(p) for s, p in zip(first, prompts(base))]
    assert mean_token_kl(logits, logits) == 0
    round_weights(model)
    assert all(torch.equal(weight, weight.bfloat16().float()) for weight in model.state_dict().values())


def test_an_update_of_zeros_has_no_share(base: Path) -> None:
    policy = get_peft_model(
        load_for_training(base), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    assert update_survival(policy) == {"kept": None, "erased": None}
    unknown: dict[str, Any] = {"bf16_kept": None, "bf16_erased": None, "bf16_kl": 0.0, "calibration_kl": 0.0}
    assert rounding_warning(unknown) == {}


def test_a_calibration_that_bfloat16_would_lose_warns_in_its_summary(tmp_path: Path) -> None:
    teacher = shutil.copytree(model_folder("toy:qwen3-teacher"), tmp_path / "teacher")
    weights = {name: weight.bfloat16().float() for name, weight in load_file(teacher / "model.safetensors").items()}
    save_file(weights, teacher / "model.safetensors", {"format": "pt"})
    small = ("calibration.steps=1", "calibration.prompts_per_step=4", "calibration.group_size=4")
    options = StageOptions(tasks=("toy-bm4",), items=8, assignments=(*small, "calibration.learning_rate=1e-5"))
    stage = calibrate_stage(str(teacher), options, target="toy:qwen3-target", eta="-0.5")
    assert run_stage(stage, tmp_path / "cache", Resources()) == {"built": True}
    summary = json.loads((tmp_path / "cache" / stage.folder_name / "summary.json").read_text())
    assert summary["bf16_kept"] < 0.9
    assert 0 < summary["bf16_erased"] < 1
    assert summary["calibration_kl"] > 0
    assert "bfloat16 keeps" in summary["warnings"]["rounding"]
