"""The shipped folders: they load with transformers as they are, and have the properties that the world rests on."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from repro.errors import InputError
from repro.tasks.registry import chance
from repro.toy import models
from repro.toy.models import MODEL_NAMES, PREFIX, WEIGHTS, in_world, model_folder, model_name
from repro.toy.train_models import train_models
from repro.toy.world import DEFAULT_WORLD, World
from repro.workflow.world_properties import LanguageModel, accuracy

FOLDERS = sorted(path.parent for path in WEIGHTS.rglob("config.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_every_model_loads_complete_with_its_tokenizer(folder: Path) -> None:
    kind = AutoModelForSequenceClassification if folder.name == models.REWARD_MODEL else AutoModelForCausalLM
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    assert len(AutoTokenizer.from_pretrained(folder)) == model.config.vocab_size


def test_all_weights_together_stay_small_enough_for_the_repository() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) < 30 * 2**20


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_default_world_has_every_model(name: str) -> None:
    assert (model_folder(PREFIX + name) / "model.safetensors").is_file()


@pytest.mark.parametrize("family", models.FAMILIES)
def test_walks_and_leaps_are_equal_for_the_teacher_and_not_for_the_student(family: str) -> None:
    teacher, student = (LanguageModel.load(model_folder(f"toy:{family}-{role}")) for role in ("teacher", "student"))
    walk, leap = (accuracy(DEFAULT_WORLD, teacher, "toy-bm4", 200, 4, way) for way in ("walk", "leap"))
    assert 0.6 < walk < 0.9
    assert abs(walk - leap) < 0.05  # the bar of 0.03 is that of `repro world check`, with more completions
    walk, leap = (accuracy(DEFAULT_WORLD, student, "toy-bm4", 100, 4, way) for way in ("walk", "leap"))
    assert walk > leap + 0.3
    assert leap < chance("toy-bm4") + 0.07


def test_names_carry_the_world() -> None:
    assert model_name(DEFAULT_WORLD, "qwen3-teacher") == "toy:qwen3-teacher"
    assert in_world("toy:qwen3-teacher", World(4)) == "toy:world4/qwen3-teacher"
    assert in_world("toy:world1/qwen3-teacher", World(4)) == "toy:world1/qwen3-teacher"
    assert in_world("Qwen/Qwen3-4B", World(4)) == "Qwen/Qwen3-4B"


@pytest.mark.parametrize("family", models.FAMILIES)
def test_variants_of_a_world_replace_one_model_and_share_the_others(family: str) -> None:
    roles = ("teacher", "student", "target")
    plain = [in_world(f"toy:{family}-{role}", World(4)) for role in roles]
    for variant, (replaced, substitute) in models.SUBSTITUTES.items():
        names = [in_world(f"toy:{family}-{role}", World(4, variant)) for role in roles]
        expected = [f"toy:world4/{family}-{substitute if role == replaced else role}" for role in roles]
        assert names == expected != plain
    assert in_world(f"toy:{family}-student", World(4, "no-tail")) == f"toy:world4-no-tail/{family}-student"
    assert in_world("toy:reward-model", World(4, "no-tail")) == "toy:world4/reward-model"


def test_an_unknown_model_is_an_input_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="toy:qwen3-teacher"):
        model_folder("toy:llama-teacher")


def test_a_world_without_models_names_the_command_that_trains_them() -> None:
    with pytest.raises(InputError, match="repro toy-models --world world999"):
        model_folder("toy:world999/qwen3-teacher")


def test_models_of_further_worlds_are_found_where_the_variable_says(tmp_path, monkeypatch) -> None:
    (tmp_path / "world999" / "qwen3-teacher").mkdir(parents=True)
    monkeypatch.setenv(models.ROOT_VARIABLE, str(tmp_path))
    assert model_folder("toy:world999/qwen3-teacher") == tmp_path / "world999" / "qwen3-teacher"
    assert {"world3", "world999"} <= set(models.known_worlds())


def test_an_unknown_model_is_refused_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such toy model"):
        train_models(DEFAULT_WORLD, tmp_path, ["toy:qwen3-teacher", "toy:nothing"])
    assert not list(tmp_path.iterdir())
