"""vLLM's CPU (or GPU) build gives the same record as the transformers engine, from the same distribution."""

import contextlib
import shutil

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("vllm", reason="needs vLLM: nox -s vllm")

from repro.generation.config import SamplingConfig
from repro.generation.engine import open_engine
from repro.generation.rollouts import stream_rollouts
from repro.generation.sample import sample
from repro.generation.vllm_process import EngineError, VllmProcess
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_model, load_tokenizer, locate
from repro.progress import silent
from repro.tasks import registry

pytestmark = [pytest.mark.vllm, pytest.mark.gpu]


@pytest.fixture(scope="module")
def items():
    return registry.get("toy-bm4").items("test", 6, 0)


@pytest.fixture(scope="module", params=["toy:qwen3-student", "toy:gemma3-student"])
def folder(request):
    return locate(request.param)


@pytest.fixture(scope="module")
def sampled(folder, items):
    tokenizer = load_tokenizer(folder)
    prompts = [prompt_token_ids(tokenizer, item.prompt) for item in items]
    engine = open_engine("vllm", folder, 64)
    groups = engine.generate(prompts, 8, 12, 1.0, seed=1), engine.generate(prompts, 8, 12, 1.0, seed=1)
    engine.close()
    return prompts, *groups


def test_equal_seeds_give_equal_completions_and_samples_differ(sampled):
    _, first, again = sampled
    assert [[c.token_ids for c in group] for group in first] == [[c.token_ids for c in group] for group in again]
    assert any(len({tuple(c.token_ids) for c in group}) > 1 for group in first)


@pytest.mark.timeout(600)
@pytest.mark.skipif(torch.cuda.is_available(), reason="an engine in this process would keep the GPU's memory")
def test_an_engine_in_a_process_of_its_own_gives_the_same_completions(sampled, folder):
    prompts, first, _ = sampled  # of an engine in this process
    with contextlib.closing(VllmProcess(folder, 64)) as engine:
        assert engine.generate(prompts, 8, 12, 1.0, seed=1) == first
        child = psutil.Process(engine._process.pid)
        left = [child, *child.children(recursive=True)]
    assert not [process for process in left if process.is_running()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "tensor_parallel",
    [1, pytest.param(2, marks=pytest.mark.gpus(2))],
)
def test_a_failed_start_names_its_cause(folder, tmp_path, tensor_parallel):
    shutil.copytree(folder, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    save_file(load_file(file) | {"model.norm.weight": torch.zeros(3)}, file, {"format": "pt"})
    with pytest.raises(EngineError, match=r"^[\w.]*Error: .*torch\.Size\(\[3\]\)"):
        VllmProcess(tmp_path / "model", 64, tensor_parallel)


def test_log_probs_agree_with_a_forward_pass(sampled, folder):
    prompts, groups, _ = sampled
    model = load_model(folder)
    gaps = []
    for prompt, group in zip(prompts, groups):
        for completion in group:
            with torch.no_grad():
                ids = torch.tensor([prompt + completion.token_ids], device=model.device)
                logits = model(ids).logits[0, len(prompt) - 1 : -1].float().cpu()
            expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(completion.token_ids)[:, None]).squeeze(1)
            gaps.append((expected - torch.tensor(completion.log_probs)).abs().mean().item())
    assert sum(gaps) / len(gaps) < 0.02  # bfloat16 serving of float32 weights


def test_more_prompt_tokens_than_one_step_reads(folder):
    """vLLM splits the prompt that no longer fits a step, which seeds of requests do not survive on a CPU."""
    drawn = torch.Generator().manual_seed(0)
    prompts = torch.randint(5, len(load_tokenizer(folder)), (200, 56), generator=drawn).tolist()
    engine = open_engine("vllm", folder, 64)
    groups = engine.generate(prompts, 1, 2, 1.0, seed=1)
    engine.close()
    assert [len(group) for group in groups] == [1] * 200
    assert all(1 <= len(group[0].token_ids) <= 2 for group in groups)


def test_the_end_token_is_kept(sampled, folder):
    end = load_tokenizer(folder).eos_token_id
    for group in sampled[1]:
        for completion in group:
            assert (completion.token_ids[-1] == end) == (completion.stop == "eos")


def test_the_record_is_the_same_as_from_transformers(folder, items, tmp_path):
    config = SamplingConfig(
        completions_per_prompt=32, temperature=1.0, max_completion_tokens=12, engine="vllm", batch_sequences=256
    )
    by_vllm = list(
        stream_rollouts(sample(config, model=folder, items=items, seed=0, work=tmp_path / "v", progress=silent))
    )
    plain = config.model_copy(update={"engine": "transformers"})
    by_transformers = list(
        stream_rollouts(sample(plain, model=folder, items=items, seed=0, work=tmp_path / "t", progress=silent))
    )
    assert [(r.item_id, r.sample, r.prompt_ids) for r in by_vllm] == [
        (r.item_id, r.sample, r.prompt_ids) for r in by_transformers
    ]
    means = [sum(map(sum, (r.log_probs for r in rollouts))) / len(rollouts) for rollouts in (by_vllm, by_transformers)]
    assert means[0] == pytest.approx(means[1], abs=0.6)  # mean log-probability of a completion, nats, of 192 each


@pytest.mark.timeout(900)
@pytest.mark.gpus(2)
def test_a_model_spread_over_two_workers_is_the_same_model(sampled, folder):
    """Its log-probabilities differ only by the order of sums in bfloat16, so nearly all short completions are equal."""
    prompts, groups, _ = sampled
    engine = open_engine("vllm", folder, 64, tensor_parallel=2)
    spread = engine.generate(prompts, 8, 12, 1.0, seed=1)
    engine.close()
    pairs = [pair for group, spread_group in zip(groups, spread) for pair in zip(group, spread_group)]
    same = [(a, b) for a, b in pairs if a.token_ids == b.token_ids]
    assert len(same) > 0.8 * len(pairs)
    gaps = [abs(p - q) for a, b in same for p, q in zip(a.log_probs, b.log_probs)]
    assert sum(gaps) / len(gaps) < 0.01
