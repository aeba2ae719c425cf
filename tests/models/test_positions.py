"""Prompt and completion together never pass a model's positions, in any stage and under any engine."""

import json
from dataclasses import replace

import pytest
from transformers import GPT2Config, LlamaConfig, Qwen3Config

from repro.errors import InputError
from repro.generation import engine
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_config, load_tokenizer, locate
from repro.models.positions import check_length, position_limit
from repro.pipeline.preflight import check_prompts
from repro.tasks import registry
from repro.tasks.task import Item
from repro.toy.models import MODELS
from repro.toy.pool import TASK_NAMES
from repro.training import prompts as training_prompts
from repro.workflow.own_models import StageOptions, calibrate_stage, distill_stage, evaluate_stage, sample_stage


def yarn(factor):
    return {"rope_type": "yarn", "rope_theta": 1e6, "factor": factor, "original_max_position_embeddings": 32_768}


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (LlamaConfig(max_position_embeddings=4096), 4096),
        (GPT2Config(n_positions=1024), 1024),
        (Qwen3Config(max_position_embeddings=40_960, rope_parameters=yarn(4.0)), 131_072),
        (Qwen3Config(max_position_embeddings=131_072, rope_parameters=yarn(2.0)), 131_072),
        (
            LlamaConfig(
                max_position_embeddings=131_072,
                rope_parameters={
                    "rope_type": "llama3",
                    "rope_theta": 5e5,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 8192,
                },
            ),
            131_072,
        ),
    ],
)
def test_position_limit(config, limit):
    assert position_limit(config) == limit


def test_a_completion_may_fill_the_last_position_and_no_more():
    model = locate("toy:qwen3-student")
    check_length(model, 104, 24, "the prompt")
    with pytest.raises(InputError, match=r"105 tokens.*up to 24.*128 positions.*lower max_completion_tokens to 23"):
        check_length(model, 105, 24, "the prompt")
    with pytest.raises(InputError, match=r"Prompts are not cut: leave the prompt out") as error:
        check_length(model, 300, 24, "the prompt")
    assert "lower" not in str(error.value)


@pytest.mark.parametrize("name", ["vllm", "transformers"])
def test_no_engine_opens_a_model_for_more_tokens_than_positions(name):
    with pytest.raises(InputError, match="128 positions"):
        engine.open_engine(name, locate("toy:qwen3-student"), 129)


@pytest.fixture
def long_rows(tmp_path):
    """Rows of about 400 tokens, all but one short."""
    rows = [{"prompt": f"{n} and {'again ' * (100 if n == 3 else 1)}?", "answer": n} for n in range(30)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


STUDENT, TEACHER = "toy:qwen3-student", "toy:qwen3-teacher"


@pytest.mark.parametrize("kind", ["evaluate", "sample", "calibrate", "sft", "gkd-fkl", "gkd-rkl"])
def test_a_long_prompt_is_refused_before_any_stage_starts(long_rows, kind):
    options = StageOptions(tasks=("file-numeric",), data=long_rows)
    stages = {
        "evaluate": lambda: [
            evaluate_stage(STUDENT, options),
            sample_stage(STUDENT, options),
        ],
        "sample": lambda: [sample_stage(STUDENT, replace(options, split=split)) for split in ("train", "test")],
        "calibrate": lambda: [calibrate_stage(TEACHER, options, target=None, eta="0.5")],
    }
    make = stages.get(kind, lambda: [distill_stage(STUDENT, TEACHER, kind, options)])
    with pytest.raises(InputError, match=r"the prompt of item file-numeric-\w+ has \d+ tokens.*128 positions"):
        check_prompts(make())


def test_training_checks_every_model_that_reads_the_prompts():
    tokenizer = load_tokenizer(locate(STUDENT))
    items = [Item("a", "t", "short", "1"), Item("b", "t", "long " * 60, "2")]
    with pytest.raises(InputError, match="item b"):
        training_prompts.check_prompts([locate(STUDENT)], tokenizer, items, 24, True)
    training_prompts.check_prompts([locate(STUDENT)], tokenizer, items[:1], 24, True)


@pytest.fixture(scope="module")
def longest_prompt():
    """Returns the tokens of the embedded world's longest prompt; models of a family have the same tokenizer, read once."""
    longest = {}

    def measure(tokenizer):
        key = tokenizer.backend_tokenizer.to_str(), tokenizer.chat_template
        if key not in longest:
            tasks = [registry.get(name) for name in TASK_NAMES]
            items = [item for task in tasks for split in ("train", "test") for item in task.items(split, None, 0)]
            longest[key] = max(len(prompt_token_ids(tokenizer, item.prompt)) for item in items)
        return longest[key]

    return measure


@pytest.mark.parametrize("name", [name for name in MODELS if "student" in name])
def test_the_embedded_world_fits_its_models(name, longest_prompt):
    """`check_prompts` relies on it."""
    tokenizer, limit = load_tokenizer(locate(name)), position_limit(load_config(locate(name)))
    assert 24 < longest_prompt(tokenizer) + 24 <= limit
