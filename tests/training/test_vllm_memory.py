"""vLLM's share of a GPU next to a trainer: the numbers of the plan, and the same numbers at run time."""

import types

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from repro.calibration.trainer import adapter_parameters
from repro.errors import InputError
from repro.planner.architectures import PUBLISHED, architecture
from repro.planner.concurrency import cache_per_sequence, sequences_at_once
from repro.planner.gpu_memory import gpu_memory, lora_params
from repro.planner.resources import Layout
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Distill, Sample
from repro.training import vllm_policy
from repro.training.resources import TrainingResources
from repro.training.vllm_memory import GIB, LEAST_CACHE, MARGIN, MOST, cache_bytes, engine_share, engine_weights
from repro.training.vllm_policy import memory_to_come

H100 = 79.2
"""GiB that CUDA reports for an H100 of 80 GB."""
COMPLETION = 4100
"""Tokens of a completion of mean length with its prompt, paper scale (Qwen)."""


@pytest.fixture(scope="module")
def stages():
    return plan("table2", scale="paper", families=("qwen3",), seeds=1).stages()


@pytest.fixture(scope="module")
def calibration(stages):
    return next(stage for stage in stages if isinstance(stage, Calibrate))


@pytest.fixture(scope="module")
def student(stages):
    return next(stage for stage in stages if isinstance(stage, Distill) and stage.config.method == "gkd-rkl")


def qwen3(layers, hidden, heads, intermediate, tied):
    config = Qwen3Config(
        vocab_size=151_936,
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=tied,
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def test_a_calibration_of_8b_holds_several_times_the_sequences_of_a_fixed_cache(calibration):
    fixed = LEAST_CACHE // cache_per_sequence(architecture("Qwen/Qwen3-8B"), COMPLETION)
    assert fixed == 10
    assert sequences_at_once(calibration, H100, COMPLETION) == 46
    assert sequences_at_once(calibration, H100, 8400) == 22


def test_the_numbers_of_the_gpu_page(calibration, student, stages):
    """docs/gpu.md, "Completions sampled at the same time"."""
    sample = next(stage for stage in stages if isinstance(stage, Sample))
    large = plan("table2", scale="paper", families=("gemma3",), seeds=1).stages()
    gemma = next(stage for stage in large if isinstance(stage, Calibrate))
    small = plan("table2", scale="small", seeds=1).stages()
    for stage, card, tokens, layout, expected in (
        (gemma, H100, COMPLETION, Layout(2, True), 48),
        (gemma, H100, 8400, Layout(2, True), 33),
        (student, H100, COMPLETION, Layout(), 72),
        (student, H100, 8400, Layout(), 35),
        (sample, H100, COMPLETION, Layout(), 96),
        (sample, H100, 8400, Layout(), 47),
        (next(stage for stage in small if isinstance(stage, Calibrate)), 23.6, 717, Layout(), 117),
        (next(s for s in small if isinstance(s, Distill) and s.config.method == "gkd-rkl"), 23.6, 717, Layout(), 32),
    ):
        assert sequences_at_once(stage, card, tokens, layout) == expected


def test_the_planned_share_leaves_the_trainer_what_it_holds(calibration, student):
    """Weights, gradients, moments and the frozen model beside vLLM, and the margin: the GPU is full, and not over."""
    for stage in (calibration, student):
        memory, model = gpu_memory(stage, Layout(micro_batch=4)), architecture(stage.workload.main.base_model.name)
        trainer = (memory.weights + memory.gradients + memory.optimizer + memory.frozen) * GIB
        share = engine_share(H100 * GIB, H100 * GIB, trainer)
        assert trainer + share * H100 * GIB + MARGIN == pytest.approx(H100 * GIB)
        cache = cache_bytes(H100 * GIB, H100 * GIB, trainer, model.parameters * 1e9)
        assert cache == pytest.approx(share * H100 * GIB - engine_weights(model.parameters * 1e9))
        assert cache > 3 * LEAST_CACHE


def test_run_time_and_plan_count_the_same(calibration, student):
    """The bytes still to come of real architectures, against the plan's; the plan rounds parameters and adapters."""
    teacher = qwen3(36, 4096, 32, 12_288, False)
    adapters = adapter_parameters(teacher, calibration.config.lora_rank)
    memory = gpu_memory(calibration)
    planned = memory.weights + memory.gradients + memory.optimizer
    assert memory_to_come(teacher, adapters, None, TrainingResources()) / GIB == pytest.approx(planned, rel=0.02)
    assert adapters / GIB == pytest.approx(lora_params(architecture("Qwen/Qwen3-8B"), 32), rel=0.2)

    small = qwen3(28, 2048, 16, 6144, True)
    memory = gpu_memory(student)
    planned = memory.weights + memory.gradients + memory.optimizer
    assert memory_to_come(small, None, None, TrainingResources()) / GIB == pytest.approx(planned, rel=0.02)


def test_what_is_still_to_come_of_shards_and_copies(monkeypatch):
    model, frozen = qwen3(2, 256, 2, 512, True), qwen3(4, 256, 2, 512, True).to(torch.bfloat16)
    n, head = model.num_parameters(), 151_936 * 256
    for ranks, shard, expected in (
        (1, False, 16 * n + 2 * frozen.num_parameters()),
        (2, False, 20 * n + 2 * frozen.num_parameters()),
        (2, True, 8 * n + frozen.num_parameters() + 4 * head),
    ):
        monkeypatch.setattr(vllm_policy, "data_parallel_ranks", lambda ranks=ranks: ranks)
        assert memory_to_come(model, None, frozen, TrainingResources(shard=shard)) == pytest.approx(expected)
        with_adapters = memory_to_come(model, 1000, None, TrainingResources(shard=shard))
        per_adapter = {False: {1: 16, 2: 20}, True: {2: 8}}[shard][ranks] * 1000
        assert with_adapters == pytest.approx(
            4 * n / (ranks if shard else 1) + per_adapter + (4 * head if shard else 0)
        )


def test_adapters_are_those_that_peft_makes(calibration):
    from peft import get_peft_model

    from repro.calibration.trainer import _lora_config

    model = qwen3(2, 256, 2, 512, False)
    expected = adapter_parameters(model, calibration.config.lora_rank)
    adapted = get_peft_model(model, _lora_config(calibration.config))
    assert expected == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_the_share_is_bounded_and_falls_with_what_is_taken():
    assert engine_share(80 * GIB, 80 * GIB, 0) == MOST
    shares = [engine_share(80 * GIB, free * GIB, 10 * GIB) for free in (70, 40, 20, 13, 5)]
    assert shares == sorted(shares, reverse=True)
    assert shares[3] == 0 > shares[4]


def test_the_free_memory_of_the_gpu_decides_and_too_little_is_refused(monkeypatch):
    free = {"gib": 70.0}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free["gib"] * GIB), int(79.2 * GIB)))
    model = types.SimpleNamespace(num_parameters=lambda: 8_190_000_000)
    arguments = vllm_policy._colocated(model, 8192, 31 * GIB)
    assert arguments["vllm_gpu_memory_utilization"] == round((70 - 31 - 3) / 79.2, 3)
    assert arguments["vllm_enable_sleep_mode"]
    free["gib"] = 48.0  # another process holds a part
    with pytest.raises(
        InputError, match=r"48\.0 of .* are free, training will take 31\.0 GiB more.*needs 16\.8.*--vllm-server"
    ):
        vllm_policy._colocated(model, 8192, 31 * GIB)


def test_caches_of_published_models():
    """Bytes a token, by the models' configurations: 36 layers x 2 x 8 heads x 128 x 2; a window caps Gemma's local layers."""
    assert cache_per_sequence(PUBLISHED["Qwen/Qwen3-8B"], 1) == 147_456
    gemma = PUBLISHED["google/gemma-3-12b-it"]
    assert cache_per_sequence(gemma, 1000) == 1000 * 48 * 2 * 8 * 256 * 2
    assert cache_per_sequence(gemma, 4100) == (8 * 4100 + 40 * 1024) * 2 * 8 * 256 * 2


def test_a_folder_states_its_cache():
    sizes = architecture("toy:gemma3-teacher")
    config = AutoModelForCausalLM.from_pretrained(str(_folder("toy:gemma3-teacher"))).config
    assert (sizes.kv_heads, sizes.head_size) == (config.num_key_value_heads, config.head_dim)
    assert sizes.local_layers == config.layer_types.count("sliding_attention")


def _folder(name):
    from repro.models.loading import locate

    return locate(name)
