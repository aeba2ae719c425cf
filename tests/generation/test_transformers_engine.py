"""The transformers engine on the shipped models: the record is what it sampled."""

import pytest
import torch
from tiny_models import save_qwen
from transformers import AutoModelForCausalLM

from repro.errors import InputError
from repro.generation import decoding
from repro.generation.config import SamplingConfig
from repro.generation.rollouts import read_rollouts, stream_rollouts
from repro.generation.sample import sample
from repro.generation.transformers_engine import TransformersEngine
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_model, load_tokenizer, locate
from repro.progress import silent
from repro.tasks import registry

CONFIG = SamplingConfig(
    completions_per_prompt=3, temperature=1.0, max_completion_tokens=12, engine="transformers", batch_sequences=6
)


@pytest.fixture(scope="module", params=["toy:qwen3-student", "toy:gemma3-student"])
def folder(request):
    return locate(request.param)


@pytest.fixture(scope="module")
def items():
    return registry.get("toy-bm4").items("test", 5, 0)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_those_of_a_plain_forward_pass(folder, items, temperature):
    """Left padding, the cut after the end token and the recorder change nothing, compared with single sequences."""
    tokenizer, model = load_tokenizer(folder), load_model(folder)
    prompts = [prompt_token_ids(tokenizer, item.prompt) for item in items]
    prompts[0] = prompts[0][-5:]  # lengths differ, so some rows are padded
    groups = TransformersEngine(folder).generate(prompts, 2, 12, temperature, seed=3)
    for prompt, group in zip(prompts, groups):
        for completion in group:
            ids = torch.tensor([prompt + completion.token_ids])
            with torch.no_grad():
                logits = model(ids).logits[0, len(prompt) - 1 : -1].double() / temperature
            expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(completion.token_ids)[:, None]).squeeze(1)
            assert torch.tensor(completion.log_probs).double().allclose(expected, atol=2e-5)


def test_the_end_token_is_kept_once_and_agrees_with_the_stop_reason(folder, items):
    tokenizer = load_tokenizer(folder)
    prompts = [prompt_token_ids(tokenizer, item.prompt) for item in items]
    ends, most = 0, 9 if "qwen3" in str(folder) else 13  # what an answer without a re-check takes
    for group in TransformersEngine(folder).generate(prompts, 24, most, 1.0, seed=0):
        for completion in group:
            end_positions = [i for i, token in enumerate(completion.token_ids) if token == tokenizer.eos_token_id]
            ends += bool(end_positions)
            assert end_positions == ([len(completion.token_ids) - 1] if completion.stop == "eos" else [])
            assert len(completion.log_probs) == len(completion.token_ids)
            if completion.stop == "length":
                assert len(completion.token_ids) == most
    assert 0 < ends < 120


def test_sampling_is_from_the_model_and_nothing_is_truncated(items):
    """First tokens of many samples against the model's own distribution: chi-square over the tokens that occur."""
    folder = locate("toy:qwen3-student")
    tokenizer, model = load_tokenizer(folder), load_model(folder)
    prompt = prompt_token_ids(tokenizer, items[0].prompt)
    n = 4000
    completions = TransformersEngine(folder).generate([prompt], n, 2, 1.0, seed=1)[0]
    counts = torch.bincount(
        torch.tensor([completion.token_ids[0] for completion in completions]), minlength=len(tokenizer)
    ).double()
    with torch.no_grad():
        p = torch.softmax(model(torch.tensor([prompt])).logits[0, -1].double(), -1)
    likely = p * n >= 5
    chi2 = (((counts - n * p) ** 2) / (n * p))[likely].sum()
    degrees = int(likely.sum()) - 1
    assert degrees >= 1
    assert chi2 < degrees + 5 * (2 * degrees) ** 0.5 + 5
    assert counts[~likely].sum() < 3 * (n * p[~likely].sum()) + 15


def test_equal_seeds_give_equal_rollouts_and_an_interrupted_run_the_same(folder, items, tmp_path):
    first = list(
        stream_rollouts(sample(CONFIG, model=folder, items=items, seed=7, work=tmp_path / "a", progress=silent))
    )
    again = list(
        stream_rollouts(sample(CONFIG, model=folder, items=items, seed=7, work=tmp_path / "b", progress=silent))
    )
    different = list(
        stream_rollouts(sample(CONFIG, model=folder, items=items, seed=8, work=tmp_path / "c", progress=silent))
    )
    assert first == again
    assert [r.token_ids for r in first] != [r.token_ids for r in different]
    assert len(first) == 15

    (tmp_path / "a" / "chunk-000002-000004.parquet").unlink()  # as a kill in the middle of a chunk would leave it
    (tmp_path / "a" / ".chunk-000002-000004.parquet.4711").write_bytes(b"half")
    resumed = list(
        stream_rollouts(sample(CONFIG, model=folder, items=items, seed=7, work=tmp_path / "a", progress=silent))
    )
    assert [r.token_ids for r in resumed] == [r.token_ids for r in first]


def test_samples_of_one_prompt_differ(folder, items, tmp_path):
    rollouts = list(stream_rollouts(sample(CONFIG, model=folder, items=items, seed=0, work=tmp_path, progress=silent)))
    groups = {}
    for rollout in rollouts:
        groups.setdefault(rollout.item_id, set()).add(tuple(rollout.token_ids))
    assert any(len(group) > 1 for group in groups.values())
    assert read_rollouts(tmp_path / "chunk-000000-000002.parquet")[0].item_id == items[0].id


def test_nan_logits_are_named_before_anything_is_sampled(tmp_path):
    folder = save_qwen(tmp_path / "broken", seed=3)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(InputError, match=r"model .*broken: its logits hold NaN or infinity at token 0"):
        TransformersEngine(folder).generate([[3, 4, 5]], 2, 4, 1.0, 0)


def test_rare_looks_change_no_completion_and_are_rare(folder, items, monkeypatch):
    """On a GPU the loop looks every 16 tokens whether all sequences have ended; padding after the last end is cut."""
    tokenizer = load_tokenizer(folder)
    prompts = [prompt_token_ids(tokenizer, item.prompt) for item in items]
    looks: list[int] = []
    check = decoding._check
    monkeypatch.setattr(decoding, "_check", lambda *bad: (looks.append(1), check(*bad)))
    engines = {every: TransformersEngine(folder, look_every=every) for every in (1, 3, 16, 50)}
    completions, counts = {}, {}
    for every, engine in engines.items():
        looks.clear()
        completions[every] = engine.generate(prompts, 4, 40, 1.0, seed=3)
        counts[every] = len(looks)
    assert completions[3] == completions[16] == completions[50] == completions[1]
    longest = max(len(completion.token_ids) for group in completions[1] for completion in group)
    assert longest < 40  # every sequence ended before the cap, so each engine had to notice
    assert counts[1] == longest > 5
    assert counts[3] == -(-longest // 3)
    assert counts[16] == -(-longest // 16)
    assert counts[50] == 1


def test_the_cap_holds_between_two_looks(folder, items):
    tokenizer = load_tokenizer(folder)
    prompts = [prompt_token_ids(tokenizer, item.prompt) for item in items]
    rare, each_token = (TransformersEngine(folder, look_every=n).generate(prompts, 2, 6, 1.0, seed=0) for n in (16, 1))
    assert rare == each_token
    assert max(len(completion.token_ids) for group in rare for completion in group) == 6


def test_nan_logits_are_named_with_their_token_by_a_late_look(tmp_path, monkeypatch):
    """Nothing is drawn from a NaN, which on a GPU would end the process without a word."""
    engine = TransformersEngine(save_qwen(tmp_path / "model", seed=3), look_every=16)
    steps = iter(range(100))

    def spoil(module, inputs, output):
        if next(steps) == 4:
            output.logits[0] = float("nan")

    engine._model.register_forward_hook(spoil)
    with pytest.raises(InputError, match=r"model .*model: its logits hold NaN or infinity at token 4"):
        engine.generate([[3, 4, 5], [3, 6, 7]], 2, 12, 1.0, 0)
