"""Pretraining and the reward model: deterministic, able to learn, and written as ordinary folders."""

import math
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from repro.evaluation.reward_model import RewardModel
from repro.tasks.toy import get_task
from repro.toy import models, train_models
from repro.toy.corpus import EVERY_TASK, Corpus
from repro.toy.preferences import preference_pairs, score_text
from repro.toy.pretrain import Pretraining, pretrain
from repro.toy.questions import Habits, write
from repro.toy.sizes import SIZES, model_config
from repro.toy.tokenizers import train_tokenizer
from repro.toy.world import DEFAULT_WORLD, World

CORPUS = Corpus(Habits(leaps=0.5, fitting=0.9), EVERY_TASK)
SHORT = Pretraining(CORPUS, steps=25, batch=16, learning_rate=5e-3, warmup=5)


def _pretrain(family: models.Family, plan: Pretraining, seed: int, world: World = DEFAULT_WORLD):
    tokenizer = train_tokenizer(family)
    return pretrain(world, model_config(family, SIZES["target"], tokenizer), tokenizer, plan, seed)


@pytest.mark.parametrize("family", models.FAMILIES)
def test_pretraining_repeats_itself_and_lowers_the_loss(family) -> None:
    first, again = (_pretrain(family, SHORT, seed=1) for _ in range(2))
    assert first.losses == again.losses
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters()))
    assert first.losses[0] > 0.8 * math.log(first.model.config.vocab_size)  # it starts near the uniform distribution
    assert sum(first.losses[-5:]) / 5 < 0.6 * first.losses[0]


def test_another_seed_or_world_gives_another_model() -> None:
    plan = Pretraining(CORPUS, steps=2, batch=4, learning_rate=1e-3)
    losses = _pretrain("qwen3", plan, 1).losses
    assert losses != _pretrain("qwen3", plan, 2).losses
    assert losses != _pretrain("qwen3", plan, 1, World(1)).losses


def test_training_writes_a_folder_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(train_models.PLANS, "target", Pretraining(CORPUS, steps=2, batch=4, learning_rate=1e-3))
    steps: list[tuple[int, int, str, str]] = []
    train_models.train_models(DEFAULT_WORLD, tmp_path, ["toy:qwen3-target"], lambda *step: steps.append(step))
    assert [path.name for path in tmp_path.iterdir()] == ["qwen3-target"]
    AutoModelForCausalLM.from_pretrained(tmp_path / "qwen3-target")
    assert AutoTokenizer.from_pretrained(tmp_path / "qwen3-target").chat_template
    assert steps[-1][:3] == (2, 2, "steps")


def test_a_text_is_scored_by_its_requested_true_attributes() -> None:
    question = get_task("toy-dolly").questions("train")[0]
    text = write(DEFAULT_WORLD, question, Habits(0.5, 1.0, errors=0.0), random.Random(0))
    opening, (first, second) = text.rsplit(" ", 2)[0], text.split()[-2:]
    assert score_text(DEFAULT_WORLD, question, text) == 1
    assert score_text(DEFAULT_WORLD, question, f"{opening} {first}") == 0.5
    assert score_text(DEFAULT_WORLD, question, f"{text} {second}") == 0.5
    assert score_text(DEFAULT_WORLD, question, f"{opening} {second} {first}") == 0
    assert score_text(DEFAULT_WORLD, question, "") == 0
    assert score_text(DEFAULT_WORLD, question, f"{text} wait 3 {first} {second}") == 1  # the last statement counts


def test_preferred_texts_have_the_higher_score() -> None:
    by_prompt = {row.prompt: row for row in _open_questions()}
    pairs = [pair for pair, _ in zip(preference_pairs(DEFAULT_WORLD, "train", 0), range(200))]
    assert not {prompt for prompt, _, _ in pairs} & {row.prompt for row in get_task("toy-dolly").questions("test")}
    for prompt, better, worse in pairs:
        if question := by_prompt.get(prompt):
            assert score_text(DEFAULT_WORLD, question, better) > score_text(DEFAULT_WORLD, question, worse)


def _open_questions():
    return [row for name in ("toy-dolly", "toy-vicuna") for row in get_task(name).questions("train")]


def test_the_reward_model_knows_truth() -> None:
    model = RewardModel(models.model_folder("toy:reward-model"))
    pairs = [pair for pair, _ in zip(preference_pairs(DEFAULT_WORLD, "test", 1), range(400))]
    better = model.score([p for p, _, _ in pairs], [b for _, b, _ in pairs])
    worse = model.score([p for p, _, _ in pairs], [w for _, _, w in pairs])
    assert all(0 <= value <= 1 for value in better + worse)
    assert sum(a > b for a, b in zip(better, worse)) / len(pairs) >= 0.85
