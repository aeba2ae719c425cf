"""Sampling and scoring on every device: the record is of the model's own distribution, whatever its generation config says."""

import json
from pathlib import Path

import pytest
import torch
from tiny_models import naive, qwen_tokenizer
from transformers import LlamaConfig, LlamaForSequenceClassification
from trl.trainer.utils import add_fused_lm_head

from repro.evaluation.reward_model import RewardModel
from repro.generation.transformers_engine import TransformersEngine
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_model, load_tokenizer
from repro.models.scoring import completion_log_prob
from repro.tasks import Item

from .conftest import Device


@pytest.fixture
def prompts(student: Path, items: list[Item]) -> list[list[int]]:
    tokenizer = load_tokenizer(student)
    ids = [prompt_token_ids(tokenizer, item.prompt) for item in items[:4]]
    return [ids[0][-6:], *ids[1:]]  # one is shorter, so that rows are padded


def test_log_probs_of_samples_are_the_models(device: Device, student: Path, prompts: list[list[int]]) -> None:
    engine = TransformersEngine(student)
    groups, again = (engine.generate(prompts, 4, 12, 1.0, seed=3) for _ in range(2))
    assert [[c.token_ids for c in group] for group in groups] == [[c.token_ids for c in group] for group in again]
    assert any(len({tuple(c.token_ids) for c in group}) > 1 for group in groups)
    pairs = [(prompt, completion) for prompt, group in zip(prompts, groups) for completion in group]
    for prompt, completion in pairs:
        expected = naive(student, prompt, completion.token_ids)
        within = len(completion.token_ids) * device.nats
        assert sum(completion.log_probs) == pytest.approx(expected, abs=within)


def test_scores_of_given_completions_are_the_models(device: Device, student: Path, prompts: list[list[int]]) -> None:
    model = load_model(student)
    assert model.device.type == device.name
    add_fused_lm_head(model)
    completions = [[5, 6, 7], [8], [9] * 10, [10, 11]]
    scores = completion_log_prob(model, prompts, completions, batch_size=3)
    assert scores.device.type == "cpu"
    for prompt, completion, score in zip(prompts, completions, scores):
        assert score.item() == pytest.approx(naive(student, prompt, completion), abs=len(completion) * device.nats)


def test_a_reward_does_not_depend_on_the_other_texts(device: Device, tmp_path: Path) -> None:
    tokenizer = qwen_tokenizer()
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=1, num_labels=1, initializer_range=0.2, **shape)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["7", "1 + 2 = 3", "Answer: 4 " * 9, "8"]
    together = RewardModel(tmp_path).score(["1 + 2 = ?"] * len(texts), texts)
    alone = [RewardModel(tmp_path).score(["1 + 2 = ?"], [text])[0] for text in texts]
    assert together == pytest.approx(alone, abs=device.relative)
    assert len({round(score, 2) for score in alone}) > 1


def test_a_model_folder_says_which_device_holds_it(device: Device, student: Path) -> None:
    dtype = torch.float32 if device.name == "cpu" else torch.bfloat16
    model = load_model(student)
    assert (model.device.type, model.dtype) == (device.name, dtype)
    assert json.loads((student / "config.json").read_text())["dtype"] == "float32"
