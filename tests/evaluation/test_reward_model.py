"""The reward model's score is that of one unpadded text at its last token, in bounded batches and without a cache."""

import contextlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from repro.errors import InputError
from repro.evaluation.reward_model import RewardModel, check_reward_model, last_logits, lent_weights
from repro.models import padded_batches
from repro.models.loading import load_tokenizer, locate
from repro.pipeline.preflight import check_models
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Distill, Evaluate
from repro.workflow.own_models import StageOptions, distill_stage, evaluate_stage

PROMPTS = ["How are you?", "Describe Nora.", "Name a colour, and say what it is like."]
COMPLETIONS = ["Nora is here.", "", "Red. It is red, as red as red can be, and redder."]
TEMPLATE = "{% for turn in messages %}{{ turn.content }}{{ eos_token }}{% endfor %}"


def tiny(tokenizer, labels=1, kind=LlamaForSequenceClassification):
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_labels=labels,
        initializer_range=0.5,
        eos_token_id=tokenizer.eos_token_id,
    )
    return kind(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reward model whose tokenizer, like Llama 3's, has no pad token, and whose texts end with the end token."""
    folder = tmp_path_factory.mktemp("reward")
    tokenizer = load_tokenizer(locate("toy:qwen3-student"))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    written = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(written | {"pad_token": None}))
    tiny(tokenizer).save_pretrained(folder)
    return folder


def score_alone(model, tokenizer, prompt, completion):
    """The score at the last token of a text that is not padded."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        return float(torch.sigmoid(model.score(model.model(ids).last_hidden_state))[0, -1, 0])


def test_the_last_token_is_scored_where_the_pad_token_is_the_end_token(folder):
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    expected = [score_alone(model, tokenizer, *pair) for pair in zip(PROMPTS, COMPLETIONS)]
    assert max(expected) - min(expected) > 0.05
    assert RewardModel(folder).score(PROMPTS, COMPLETIONS) == pytest.approx(expected, abs=1e-5)


def test_batches_are_bounded_by_padded_tokens_and_keep_no_cache(folder, monkeypatch):
    monkeypatch.setattr(padded_batches, "FORWARD_TOKENS", 100)
    reward_model = RewardModel(folder)
    shapes, caches = [], []

    def watch(module, args, kwargs, output):
        shapes.append(tuple(kwargs["input_ids"].shape))
        caches.append(output.past_key_values)

    reward_model._model.model.register_forward_hook(watch, with_kwargs=True)
    completions = [" ".join(["red"] * count) for count in range(1, 40)]
    scores = reward_model.score(["colour"] * len(completions), completions)
    assert all(rows * columns <= 100 or rows == 1 for rows, columns in shapes)
    assert max(rows for rows, _ in shapes) > 1
    assert set(caches) == {None}
    seen = len(shapes)
    assert reward_model.score(["colour"] * 2, completions[-2:]) == scores[-2:]
    assert len(shapes) == seen


def test_a_batch_gives_the_logits_of_single_texts(folder):
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    texts = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14]]
    together = last_logits(model, texts, torch.device("cpu"))
    alone = [float(last_logits(model, [text], torch.device("cpu"))) for text in texts]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)


def test_weights_return_to_the_memory_that_they_were_read_into(folder):
    """On a GPU nothing is copied back to the host; a clone stands for the GPU's copy."""
    model = LlamaForSequenceClassification.from_pretrained(folder)
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.data_ptr() for tensor in tensors]
    with lent_weights(model, torch.clone):
        assert {tensor.data_ptr() for tensor in tensors}.isdisjoint(before)
    assert [tensor.data_ptr() for tensor in tensors] == before


def test_what_is_no_reward_model_is_refused_before_a_run(folder, tmp_path):
    check_reward_model(folder)
    tokenizer = load_tokenizer(folder)
    two = tmp_path / "two"
    shutil.copytree(folder, two)
    tiny(tokenizer, 2).save_pretrained(two)
    for check in (check_reward_model, RewardModel):
        with pytest.raises(InputError, match="2 labels, but a reward model has one logit"):
            check(two)
    causal = tmp_path / "causal"
    shutil.copytree(folder, causal)
    tiny(tokenizer, 1, LlamaForCausalLM).save_pretrained(causal)
    with pytest.raises(InputError, match=r"missing .*score"):
        check_reward_model(causal)
    silent = tmp_path / "silent"
    shutil.copytree(folder, silent)
    (silent / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        check_reward_model(silent)


def test_a_study_checks_its_reward_model_before_its_first_stage(folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    tiny(load_tokenizer(folder), 2).save_pretrained(broken)
    for reward_model, expectation in (
        (folder, contextlib.nullcontext()),
        (broken, pytest.raises(InputError, match="2 labels")),
    ):
        options = StageOptions(tasks=("toy-dolly",), reward_model=str(reward_model))
        with expectation:
            check_models([evaluate_stage("toy:qwen3-student", options)])


def test_a_distillation_has_a_reward_model_only_on_request(folder):
    """Its weights do not depend on the scores."""
    for settings, expected in (((), set()), (("reward_while_distilling=true",), {"gkd-rkl"})):
        assignments = ("tasks=toy-bm4,toy-dolly", *settings)
        stages = plan("table2", scale="toy", families=("qwen3",), seeds=1, assignments=assignments).stages()
        scored = {stage.procedure for stage in stages if isinstance(stage, Distill) and stage.reward_model}
        assert scored == expected
        assert all(stage.reward_model for stage in stages if isinstance(stage, Calibrate | Evaluate))
    options = StageOptions(tasks=("toy-dolly",))
    pair = ("toy:qwen3-student", "toy:qwen3-teacher", "gkd-rkl")
    assert distill_stage(*pair, options).reward_model is None
    requested = distill_stage(*pair, replace(options, reward_model=str(folder)))
    assert requested.reward_model is not None
