"""Templates that read the clock get one recorded date, which is part of what a stage and a checkpoint are."""

import datetime
import json
import shutil

import pytest
import transformers.utils.chat_template_utils as template_utils

from repro.models import template_date, template_hash
from repro.models.chat_tokens import end_of_turn_id, prompt_token_ids
from repro.models.loading import load_tokenizer, locate
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.recipes.assumed import assumed
from repro.recipes.shared_stages import base_model
from repro.toy.models import MODELS
from repro.training.checkpoints import run_identity
from repro.workflow.own_models import StageOptions, sample_stage

TURNS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DATED = {
    "clock": "{{ strftime_now('%d %b %Y') }}",
    "clock, ISO": "{{ strftime_now('%Y-%m-%d') }}",
    "llama-3.2": (
        "{% if not date_string is defined %}{% if strftime_now is defined %}"
        "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}"
        "{% endif %}{{ date_string }}"
    ),
    "clock to the microsecond": "{{ strftime_now('%H:%M:%S.%f') }}",
}


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(locate("toy:qwen3-student"), tmp_path / "model")


def set_day(monkeypatch, day):
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, *_):
            return datetime.datetime(2026, 11, day, 23, 59, 59)

    monkeypatch.setattr(template_utils, "datetime", Clock)


@pytest.mark.parametrize("kind", DATED)
def test_a_prompt_is_the_same_on_two_days(folder, monkeypatch, kind):
    (folder / "chat_template.jinja").write_text(f"<|im_start|>system\n{DATED[kind]}<|im_end|>\n{TURNS}")
    prompts, names = [], []
    for day in (25, 26):
        set_day(monkeypatch, day)
        tokenizer = load_tokenizer(folder)
        prompts.append(prompt_token_ids(tokenizer, "2 + 3 = ?"))
        names.append(sample_stage(str(folder), StageOptions(tasks=("toy-bm4",), items=2)).folder_name)
        assert end_of_turn_id(tokenizer, 2) == 2
    assert prompts[0] == prompts[1]
    assert names[0] == names[1]
    if kind in ("clock", "llama-3.2"):
        assert "26 Jul 2024" in tokenizer.decode(prompts[0])


def test_the_date_is_an_assumed_value():
    assert assumed("template date") == template_date.DATE == template_date.fixed_strftime("%d %b %Y")


def test_the_rendered_template_is_identity_of_stages_and_checkpoints(folder, monkeypatch):
    (folder / "chat_template.jinja").write_text(f"{{{{ strftime_now('%d %b') }}}}{TURNS}")
    stage = sample_stage(str(folder), StageOptions(tasks=("toy-bm4",), items=2))
    run = run_identity({}, 0, [], templates=[template_hash.template_hash(load_tokenizer(folder))])
    monkeypatch.setattr(template_hash, "render", lambda *args, **kwargs: "as of another day")
    assert sample_stage(str(folder), StageOptions(tasks=("toy-bm4",), items=2)).fingerprint != stage.fingerprint
    assert run_identity({}, 0, [], templates=[template_hash.template_hash(load_tokenizer(folder))]) != run


def test_hub_models_are_identified_with_the_date_and_toy_models_by_their_content_alone():
    assert "template" not in base_model("toy:qwen3-student").identity()
    assert base_model("meta-llama/Llama-3.2-3B-Instruct").identity()["template"] == f"at {template_date.DATE}"


@pytest.mark.parametrize("name", MODELS)
def test_no_toy_template_prints_a_date(name):
    """Their content hash therefore covers what they write."""
    template = load_tokenizer(locate(f"toy:{name}" if ":" not in name else name)).chat_template
    assert "strftime_now" not in template
    assert "date_string" not in template


def test_a_record_holds_what_the_templates_wrote(folder, tmp_path):
    stage = sample_stage(
        str(folder),
        StageOptions(tasks=("toy-bm4",), items=2, assignments=("teacher_sampling.max_completion_tokens=8",)),
    )
    assert run_stage(stage, tmp_path / "cache", Resources()) == {"built": True}
    record = json.loads((tmp_path / "cache" / stage.folder_name / "record.json").read_text())
    expected = template_hash.template_hash(load_tokenizer(folder))
    assert record["templates"] == {"date": "26 Jul 2024", str(folder): expected}
