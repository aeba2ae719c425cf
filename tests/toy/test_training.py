"""Pretraining and the reward model: deterministic, able to learn, and written as ordinary folders."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from repro.evaluation.reward_model import RewardModel
from repro.tasks.toy import get_task
from repro.toy import models, train_models
from repro.toy.corpus import Phase
from repro.toy.preferences import preference_pairs, score_description
from repro.toy.pretrain import Pretraining, pretrain
from repro.toy.questions import Describe
from repro.toy.tokenizers import train_tokenizer

MIX = [Phase({"pairs": 0.2, "toy-bm4": 0.4, "toy-bm5": 0.4}, worked=0.8)]
SHORT = Pretraining(MIX, steps=25, batch=16, learning_rate=5e-3, warmup=5)


@pytest.mark.parametrize("family", models.FAMILIES)
def test_pretraining_repeats_itself_and_lowers_the_loss(family) -> None:
    tokenizer = train_tokenizer(family)
    first, again = (pretrain(family, "target", tokenizer, SHORT, seed=1) for _ in range(2))
    assert first.losses == again.losses
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters()))
    assert first.losses[0] > 0.8 * math.log(len(tokenizer))  # it starts near the uniform distribution
    assert sum(first.losses[-5:]) / 5 < 0.6 * first.losses[0]


def test_another_seed_gives_another_model() -> None:
    tokenizer = train_tokenizer("qwen3")
    plan = Pretraining(SHORT.mix, steps=2, batch=4, learning_rate=1e-3)
    assert (
        pretrain("qwen3", "target", tokenizer, plan, 1).losses != pretrain("qwen3", "target", tokenizer, plan, 2).losses
    )


def test_training_writes_a_folder_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        train_models.PLANS, ("qwen3", "target"), Pretraining(SHORT.mix, steps=2, batch=4, learning_rate=1e-3)
    )
    steps: list[tuple[int, int, str, str]] = []
    train_models.train_models(tmp_path, ["toy:qwen3-target"], lambda *step: steps.append(step))
    assert [path.name for path in tmp_path.iterdir()] == ["qwen3-target"]
    AutoModelForCausalLM.from_pretrained(tmp_path / "qwen3-target")
    assert AutoTokenizer.from_pretrained(tmp_path / "qwen3-target").chat_template
    assert steps[-1][:3] == (2, 2, "steps")


def test_a_description_is_scored_by_its_requested_true_sentences() -> None:
    question = next(row for row in get_task("toy-dolly").questions("train") if isinstance(row, Describe))
    first, second = question.sentences
    assert (
        score_description(question, question.completion("worked"))
        == score_description(question, question.completion("direct"))
        == 1
    )
    assert score_description(question, first) == 0.5
    assert score_description(question, f"{first} {second} {second}") == 0.5
    assert score_description(question, "") == 0
    assert score_description(question, f"{first} nora is nora.") == 0


def test_preferred_completions_have_the_higher_score() -> None:
    by_prompt = {row.prompt: row for name in ("toy-dolly", "toy-vicuna") for row in get_task(name).questions("train")}
    for (prompt, better, worse), _ in zip(preference_pairs(0), range(200)):
        question = by_prompt[prompt]
        assert isinstance(question, Describe)
        assert score_description(question, better) > score_description(question, worse)


def test_the_reward_model_ranks_full_above_empty_and_beats_chance_on_pairs() -> None:
    """It cannot tell which of two well-formed facts is true: see weights/README.md."""
    model = RewardModel(models.model_folder("toy:reward-model"))
    rows = [row for row in get_task("toy-dolly").questions("test") if isinstance(row, Describe)][:60]
    prompts = [row.prompt for row in rows]
    good = model.score(prompts, [row.completion("direct") for row in rows])
    empty = model.score(prompts, ["" for _ in rows])
    assert all(0 <= value <= 1 for value in good + empty)
    assert sum(a > b for a, b in zip(good, empty)) / len(rows) > 0.9
    pairs = [pair for pair, _ in zip(preference_pairs(1), range(400))]
    better = model.score([p for p, _, _ in pairs], [b for _, b, _ in pairs])
    worse = model.score([p for p, _, _ in pairs], [w for _, _, w in pairs])
    wins = sum(a > b for a, b in zip(better, worse))
    assert wins / len(pairs) > 0.5 + 3 * 0.5 / len(pairs) ** 0.5  # three standard errors above a coin
