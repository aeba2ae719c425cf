"""`--set`: values land where they belong, mistakes are one clear line."""

import pytest

from repro.errors import InputError
from repro.recipes import paper, small, toy
from repro.recipes.assumed import ASSUMED
from repro.recipes.catalog import settings_of
from repro.recipes.settings import as_assigned, flatten, override


def test_dotted_keys_and_types():
    settings = override(toy.settings(), ["calibration.steps=7", "tasks=toy-bm4, toy-csqa", "train_items=all"])
    assert settings.calibration.steps == 7
    assert settings.tasks == ("toy-bm4", "toy-csqa")
    assert settings.train_items is None


def test_commas_within_brackets_belong_to_a_name():
    guards = (
        "matrix.guards=none, doge(strength=0.3,temperature=1),knob(strength=-1),rewrite(model=http://h/v1#m,style=a)"
    )
    assert override(toy.settings(), [guards]).matrix.guards == (
        "none",
        "doge(strength=0.3,temperature=1)",
        "knob(strength=-1)",
        "rewrite(model=http://h/v1#m,style=a)",
    )


def test_eta_is_a_size_that_sets_both_directions():
    settings = override(toy.settings(), ["eta=0.7"])
    assert (settings.eta_distillable, settings.eta_undistillable) == (0.7, -0.7)
    with pytest.raises(InputError) as refused:
        override(toy.settings(), ["eta=-0.7"])
    assert str(refused.value) == (
        "--set eta=-0.7: the size of eta, used with both signs; write eta=0.7, or eta_undistillable=-0.7"
    )
    assert override(toy.settings(), ["eta_undistillable=-0.7"]).eta_undistillable == -0.7


def test_engine_reaches_every_stage():
    settings = override(toy.settings(), ["engine=vllm"])
    assert {part.engine for part in (settings.calibration, settings.sft, settings.gkd_rkl, settings.evaluation)} == {
        "vllm"
    }


def test_a_target_of_the_other_family():
    settings = override(toy.settings(), ["families.qwen3.target=toy:gemma3-target"])
    assert settings.families["qwen3"].target == "toy:gemma3-target"
    assert settings.families["gemma3"] == toy.settings().families["gemma3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nosuch.key=1", "no setting 'nosuch.key'"),
        ("calibration.stepz=1", "Did you mean calibration.steps"),
        ("eta=abc", "not a number"),
        ("eta=nan", "--set eta=nan: .*finite number above 0"),
        ("eta=0", "--set eta=0: .*above 0"),
        ("calibration.steps=-3", "calibration.steps='-3': must be greater than 0"),
        ("calibration.steps", "write key=value"),
        ("calibration=5", "no setting 'calibration'"),
        ("engine=quantum", "engine='quantum'"),
        ("tasks=", "give 1 or more, separated by commas; there are 0"),
        ("tasks=toy-bm4,toy-bm4", "tasks toy-bm4, toy-bm4: list each once"),
        ("source_tasks=toy-bm4,toy-bm4", "list each once"),
        ("prefixes.fractions=0.25,0.25", "list each share once"),
        ("diagnosis.ks=1,1,64", "^--set diagnosis: "),
        ("etas=1", "give 3 or more, separated by commas; there are 1"),
        ("calibration.learning_rate=inf", "finite number"),
        ("sft.learning_rate=inf", "finite number"),
        ("calibration.kl_beta=inf", "finite number"),
        ("evaluation.temperature=inf", "finite number"),
        ("gkd_rkl.traces=answer-only", "needs stored teacher completions"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(InputError, match=message):
        override(toy.settings(), [text])


@pytest.mark.parametrize("scale", ["toy", "small", "paper"])
def test_a_setting_as_it_is_listed_can_be_set(scale):
    settings = settings_of(scale)
    lines = [f"{key}={as_assigned(value)}" for key, value in flatten(settings.model_dump(mode="json")).items()]
    assert override(settings, lines) == settings


def test_override_leaves_the_original_alone():
    before = toy.settings()
    override(before, ["calibration.steps=7"])
    assert before == toy.settings()


def test_every_scale_has_the_same_settings():
    shapes = [set(flatten(module.settings().model_dump(mode="json"))) for module in (toy, small, paper)]
    families = [{k for k in shape if not k.startswith("families.")} for shape in shapes]
    assert families[0] == families[1] == families[2]


def test_paper_scale_samples_as_the_paper_says():
    sampling = paper.settings().evaluation
    assert (sampling.completions_per_prompt, sampling.temperature) == (16, 1.0)


def test_assumed_values_have_reasons():
    assert all(len(assumption.reason) > 10 for assumption in ASSUMED.values())
