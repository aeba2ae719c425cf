"""Pretraining and the reward model: deterministic, able to learn, and written as ordinary folders."""

import functools
import itertools
import math
import random
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from repro.errors import InputError, StageError
from repro.progress import silent
from repro.tasks.toy import get_task
from repro.toy import models, train_models
from repro.toy.corpus import EVERY_TASK, Corpus
from repro.toy.pool import split_of
from repro.toy.preferences import check_words, preference_pairs, score_text
from repro.toy.pretrain import Pretraining, pretrain
from repro.toy.questions import Habits, Question, write
from repro.toy.reward import UNCHECKED, _Batch
from repro.toy.sizes import SIZES, model_config
from repro.toy.tokenizers import train_tokenizer
from repro.toy.world import DEFAULT_WORLD, World
from repro.workflow.world_properties import preference_accuracy

CORPUS = Corpus(Habits(leaps=0.5, fitting=0.9), EVERY_TASK)
SHORT = Pretraining(CORPUS, steps=25, batch=16, learning_rate=5e-3, warmup=5)


_tokenizer = functools.cache(train_tokenizer)


def _pretrain(family: models.Family, plan: Pretraining, seed: int, world: World = DEFAULT_WORLD):
    tokenizer = _tokenizer(family)
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
    (folder,) = tmp_path.glob("*/*")
    assert folder == tmp_path / DEFAULT_WORLD.name / "qwen3-target"
    AutoModelForCausalLM.from_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert steps[-1][:3] == (2, 2, "steps")


def test_no_bar_of_transformers_tears_that_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(train_models.PLANS, "target", Pretraining(CORPUS, steps=1, batch=2, learning_rate=1e-3))
    transformers_logging.enable_progress_bar()
    try:
        train_models.train_model(DEFAULT_WORLD, "qwen3-target", tmp_path, silent)
    finally:
        transformers_logging.disable_progress_bar()
    assert "shards" not in "".join(capfd.readouterr())


@pytest.mark.processes
def test_models_are_the_same_side_by_side_and_alone(tmp_path: Path) -> None:
    names = ["qwen3-blind-target", "gemma3-blind-target"]
    seconds = train_models.train_models(DEFAULT_WORLD, tmp_path / "both", names, workers=2)
    assert set(seconds) == set(names)
    for name in names:
        train_models.train_models(DEFAULT_WORLD, tmp_path / "alone", [name])
        both, alone = (tmp_path / part / DEFAULT_WORLD.name / name for part in ("both", "alone"))
        files = sorted(file.name for file in both.iterdir())
        assert "model.safetensors" in files
        assert all((both / file).read_bytes() == (alone / file).read_bytes() for file in files)


def test_a_model_that_is_there_is_kept(tmp_path: Path) -> None:
    names = ["qwen3-blind-target", "gemma3-blind-target"]
    assert set(train_models.train_models(DEFAULT_WORLD, tmp_path, names[:1], workers=2)) == {names[0]}
    weights = tmp_path / DEFAULT_WORLD.name / names[0] / "model.safetensors"
    weights.write_bytes(b"mine")
    assert set(train_models.train_models(DEFAULT_WORLD, tmp_path, names, workers=2)) == {names[1]}
    assert train_models.train_models(DEFAULT_WORLD, tmp_path, names, workers=2) == {}
    assert weights.read_bytes() == b"mine"


def test_a_model_that_is_named_twice_is_trained_once(tmp_path: Path) -> None:
    name = "qwen3-blind-target"
    assert set(train_models.train_models(DEFAULT_WORLD, tmp_path, [name, f"toy:{name}"], workers=2)) == {name}


@pytest.mark.processes
def test_a_killed_process_is_an_error_and_leaves_no_other(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(done: int, total: int, unit: str, note: str = "") -> None:
        if not killed:
            for process in psutil.Process().children(recursive=True):
                if "forkserver" in " ".join(process.parent().cmdline()):
                    killed.append(process.pid)
                    process.kill()
                    return

    with pytest.raises(
        StageError, match=r"(qwen3|gemma3)-teacher: its process ended without a result \(exit code -9\)\. Finished"
    ):
        train_models.train_models(DEFAULT_WORLD, tmp_path, ["qwen3-teacher", "gemma3-teacher"], kill, workers=2)
    assert killed
    assert not list(tmp_path.glob("*/*-teacher"))
    left = [
        child
        for child in psutil.Process().children(recursive=True)
        if "forkserver" in " ".join(child.parent().cmdline())
    ]
    assert not left


@pytest.mark.processes
def test_an_error_of_a_worker_reaches_the_caller(tmp_path: Path) -> None:
    (tmp_path / DEFAULT_WORLD.name).write_text("a file where the folder goes")
    with pytest.raises(InputError, match="cannot write the model"):
        train_models.train_models(DEFAULT_WORLD, tmp_path, ["qwen3-blind-target", "gemma3-blind-target"], workers=2)


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
    for pair in itertools.islice(preference_pairs(DEFAULT_WORLD, "train", 0), 200):
        assert split_of(pair.question) == "train"
        better, worse = (score_text(DEFAULT_WORLD, pair.question, text) for text in (pair.better, pair.worse))
        assert better > worse


def test_words_are_checked_against_those_before_them() -> None:
    world, (start, operations) = World(1), (3, ("fix", "hop", "jab", "mix"))
    a, b, c, d = world.states(start, operations)
    question = Question("open", start, operations, requested=("hue", "pet"))
    hue, pet = world.attribute("hue", d), world.attribute("pet", d)
    assert check_words(world, question, f"well {a} {b} hm {d} {hue} {pet}") == [
        None,
        True,
        True,
        None,
        True,
        True,
        True,
    ]
    wrong = (b + 1) % 8
    c, d = world.states(wrong, operations[2:])  # what follows from a wrong state is no second fault
    hue, pet = world.attribute("hue", d), world.attribute("pet", d)
    assert check_words(world, question, f"well hm {wrong} {c} {d} {hue} {pet} {hue}") == [
        *(None, None, False, True, True),
        *(True, True, False),
    ]


def test_each_checked_word_of_a_batch_is_the_token_that_ends_it() -> None:
    tokenizer = _tokenizer("qwen3")
    pairs = list(itertools.islice(preference_pairs(DEFAULT_WORLD, "train", 0), 8))
    batch = _Batch(DEFAULT_WORLD, tokenizer, pairs)
    rows = [(pair.question, text) for name in ("better", "worse") for pair in pairs for text in [getattr(pair, name)]]
    for ids, follows, (question, text) in zip(batch.ids_BT, batch.follows_BT, rows):
        checks = check_words(DEFAULT_WORLD, question, text)
        words = [word for word, check in zip(text.split(), checks) if check is not None]
        assert tokenizer.batch_decode(ids[follows != UNCHECKED][:, None]) == [f" {word}" for word in words]
        assert follows[follows != UNCHECKED].tolist() == [float(check) for check in checks if check is not None]


def test_the_reward_model_knows_truth() -> None:
    assert preference_accuracy(DEFAULT_WORLD, models.model_folder("toy:reward-model"), 400) >= 0.85
