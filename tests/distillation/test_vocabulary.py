"""Output layers of different width, renamed control tokens, multimodal checkpoints."""

import contextlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from distillation.test_distill import STEP, config, lines
from tiny_models import naive, qwen_tokenizer, save_llama, save_multimodal_gemma, save_qwen
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Gemma3ForCausalLM

from repro.distillation.distill import distill
from repro.distillation.on_policy import OnPolicyTrainer
from repro.distillation.pair import check_pair, fit_vocabulary
from repro.errors import InputError
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_for_training, load_model, load_tokenizer
from repro.progress import silent
from repro.tasks import Item


def train(base: Path, teacher: Path, student: Path, items: list[Item], **changes: Any) -> dict[str, Any]:
    return distill(
        config(**changes),
        student=student,
        teacher=teacher,
        items=items,
        completions=None,
        task_reward=lambda items, texts: [1.0] * len(texts),
        seed=3,
        out=base / "out",
        work=base / "work",
        progress=silent,
    )


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with the seed and size of `teacher`, its output layer padded by 21 rows."""
    return save_qwen(tmp_path_factory.mktemp("padded") / "teacher", layers=2, seed=1, vocabulary=320)


def test_the_divergence_is_over_the_ids_that_both_have(
    tmp_path: Path, padded: Path, student: Path, items: list[Item]
) -> None:
    sizes = check_pair(padded, student)
    assert (sizes.teacher, sizes.student, sizes.compared) == (320, 299, 299)
    summary = train(tmp_path / "padded", padded, student, items)
    assert summary["compared_vocabulary"] == 299
    by_hand = AutoModelForCausalLM.from_pretrained(padded)  # the same teacher without the padding rows
    by_hand.resize_token_embeddings(299)
    by_hand.save_pretrained(tmp_path / "cut")
    AutoTokenizer.from_pretrained(padded).save_pretrained(tmp_path / "cut")
    train(tmp_path / "plain", tmp_path / "cut", student, items)
    row, expected = lines(tmp_path / "padded" / "out")[0], lines(tmp_path / "plain" / "out")[0]
    assert row["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    assert row["loss"] > 0.05


def test_a_padded_student_is_saved_without_its_padding(
    tmp_path: Path, padded: Path, student: Path, items: list[Item]
) -> None:
    train(tmp_path, student, padded, items)
    assert AutoConfig.from_pretrained(tmp_path / "out" / "model").vocab_size == 299
    load_model(tmp_path / "out" / "model")


def test_cutting_renormalises_and_changes_nothing_else(padded: Path) -> None:
    model = load_model(padded)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        full = model(ids).logits[..., :299].log_softmax(-1)
        cut = fit_vocabulary(model, 299)(ids).logits.log_softmax(-1)
    torch.testing.assert_close(cut, full)


def renamed(folder: Path, model: Path, end: str) -> Path:
    """Copy a model with renamed control tokens, as DeepSeek does. end: the one that ends a turn."""
    shutil.copytree(model, folder)
    names = {"<|endoftext|>": "<begin>", "<|im_start|>": "<User>", "<|im_end|>": "<end>"}
    core = json.loads((folder / "tokenizer.json").read_text())
    core["model"]["vocab"] = {names.get(token, token): i for token, i in core["model"]["vocab"].items()}
    for token in core["added_tokens"]:
        token["content"] = names[token["content"]]
    (folder / "tokenizer.json").write_text(json.dumps(core))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"eos_token": end, "pad_token": "<begin>"}
    settings.pop("added_tokens_decoder", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<User>{{ m['content'] }}" + end + "{% endfor %}"
        "{% if add_generation_prompt %}<User>{% endif %}"
    )
    ends = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(end)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return folder


def test_renamed_control_tokens_are_accepted(tmp_path: Path, teacher: Path, student: Path) -> None:
    assert check_pair(renamed(tmp_path / "r1", teacher, "<end>"), student).compared == 299


def change_state(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change a model's tokenizer.json in place."""
    core = json.loads((folder / "tokenizer.json").read_text())
    change(core)
    (folder / "tokenizer.json").write_text(json.dumps(core))
    return folder


@pytest.mark.parametrize(("name", "is_accepted"), [("<\uff5cUser\uff5c>", True), ("<|User|>", True), ("<User>", False)])
def test_role_markers_need_not_be_declared_special(
    name: str, is_accepted: bool, tmp_path: Path, teacher: Path, student: Path
) -> None:
    """DeepSeek's are not; any other added token could be in a text, where only one of the models has it."""
    folder = renamed(tmp_path / "r1", teacher, "<end>")

    def declare(core: dict[str, Any]) -> None:
        (marker,) = (token for token in core["added_tokens"] if token["content"] == "<User>")
        core["model"]["vocab"][name] = core["model"]["vocab"].pop("<User>")
        marker |= {"content": name, "special": False}

    change_state(folder, declare)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<User>", name))
    with contextlib.nullcontext() if is_accepted else pytest.raises(InputError, match="different tokenizers"):
        assert check_pair(folder, student).compared == 299


def test_offsets_of_tokens_do_not_make_another_tokenizer(tmp_path: Path, teacher: Path, student: Path) -> None:
    """The general class of tokenizers trims them where Qwen's does not."""
    folder = shutil.copytree(teacher, tmp_path / "offsets")
    trims = json.loads((folder / "tokenizer.json").read_text())["pre_tokenizer"]["trim_offsets"]
    change_state(folder, lambda core: core["pre_tokenizer"].update(trim_offsets=not trims))
    assert check_pair(folder, student).compared == 299
    change_state(folder, lambda core: core["pre_tokenizer"].update(add_prefix_space=True))
    with pytest.raises(InputError, match="different tokenizers"):
        check_pair(folder, student)


def test_a_different_end_of_turn_is_refused(tmp_path: Path, teacher: Path, student: Path) -> None:
    with pytest.raises(InputError, match=r"ends its turn with id 0 \(<begin>\).*id 2.*would not learn to stop"):
        check_pair(renamed(tmp_path / "r1", teacher, "<begin>"), student)


def test_ids_of_text_that_only_one_model_has_are_refused(tmp_path: Path, teacher: Path) -> None:
    narrow = save_qwen(tmp_path / "narrow")
    model = AutoModelForCausalLM.from_pretrained(narrow)
    model.resize_token_embeddings(290)
    model.save_pretrained(narrow)
    with pytest.raises(InputError, match=r"299 and student vocab 290 differ.*stand for text"):
        check_pair(teacher, narrow)


def test_a_multimodal_checkpoint_is_loaded_as_its_language_model(tmp_path: Path) -> None:
    folder = save_multimodal_gemma(tmp_path / "seeing")
    multimodal = AutoModelForCausalLM.from_pretrained(folder)
    text = load_for_training(folder)
    assert isinstance(text, Gemma3ForCausalLM)
    assert text.num_parameters() < multimodal.num_parameters()
    ids = torch.tensor([[2, 5, 6, 7]])
    with torch.no_grad():
        torch.testing.assert_close(text(ids).logits, multimodal.eval()(ids).logits)
    text.save_pretrained(tmp_path / "text")
    again = load_model(tmp_path / "text")
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, text(ids).logits)


def test_a_multimodal_teacher_and_a_narrower_student(tmp_path: Path, items: list[Item]) -> None:
    """Gemma-3 12B to 1B: 262,208 and 262,144 rows, a vision tower on one side only."""
    teacher = save_multimodal_gemma(tmp_path / "teacher", seed=1)
    student = tmp_path / "student"
    text = load_for_training(save_multimodal_gemma(tmp_path / "other", seed=2))
    fit_vocabulary(text, text.config.vocab_size - 4).save_pretrained(student)
    AutoTokenizer.from_pretrained(teacher).save_pretrained(student)
    shutil.copy(teacher / "generation_config.json", student)
    summary = train(tmp_path, teacher, student, items)
    assert summary["teacher_vocabulary"] - summary["compared_vocabulary"] == 4
    assert math.isfinite(lines(tmp_path / "out")[0]["loss"])


def test_llama_learns_from_llama(tmp_path: Path, items: list[Item]) -> None:
    teacher, student = save_llama(tmp_path / "teacher", seed=1), save_llama(tmp_path / "student", seed=2)
    summary = train(tmp_path, teacher, student, items, steps=8)
    rows = lines(tmp_path / "out")
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert summary["steps"] == 8
    prompt = qwen_tokenizer()("1 + 1")["input_ids"]
    assert naive(tmp_path / "out" / "model", prompt, [5, 6]) != pytest.approx(naive(student, prompt, [5, 6]), abs=1e-3)


def test_reasoning_sets_the_templates_switch(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer's prompts are those of `prompt_token_ids`, with the switch on and off."""
    prompts_seen: list[list[int]] = []
    generate = OnPolicyTrainer._generate_single_turn

    def spy(self: Any, prompt_ids: list[list[int]], *rest: Any, **kwargs: Any) -> Any:
        prompts_seen.extend(prompt_ids)
        return generate(self, prompt_ids, *rest, **kwargs)

    monkeypatch.setattr(OnPolicyTrainer, "_generate_single_turn", spy)
    switch = "{% if enable_thinking is defined and enable_thinking is false %}no{% endif %}"
    for model in (teacher, student):
        shutil.copytree(model, tmp_path / model.name)
        template = tmp_path / model.name / "chat_template.jinja"
        template.write_text(template.read_text() + switch)
    tokenizer = load_tokenizer(tmp_path / "student")
    for reasoning in (True, False):
        prompts_seen.clear()
        train(tmp_path / str(reasoning), tmp_path / "teacher", tmp_path / "student", items, reasoning=reasoning)
        expected_ids = [prompt_token_ids(tokenizer, item.prompt, reasoning) for item in items]
        assert len(prompts_seen) == STEP
        assert all(ids in expected_ids for ids in prompts_seen)
        assert tokenizer.decode(prompts_seen[0]).endswith("no") is not reasoning
