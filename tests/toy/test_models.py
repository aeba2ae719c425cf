"""The shipped folders: they load with transformers as they are, and answer as well as their README says."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from repro.errors import InputError
from repro.tasks.grading import grade
from repro.tasks.toy import get_task
from repro.toy import models
from repro.toy.pretrain import prompt_text
from repro.toy.questions import OPENING
from repro.toy.train_models import train_models


def _sample(name: str, task_name: str, n: int) -> list[tuple[str, bool]]:
    """Return (text, correct) of one sampled completion for each of n test items."""
    folder = models.model_folder(name)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    items = get_task(task_name).items("test", n, seed=0)
    prompts = [prompt_text(tokenizer, item.prompt) for item in items]
    encoded = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt")
    torch.manual_seed(0)
    ids = model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=24,
    )
    texts = tokenizer.batch_decode(ids[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    return [(text, grade(get_task(task_name).kind, text, item.key).correct) for text, item in zip(texts, items)]


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_loads_complete_with_its_tokenizer(name: str) -> None:
    folder = models.model_folder(name)
    kind = AutoModelForSequenceClassification if name.endswith(models.REWARD_MODEL) else AutoModelForCausalLM
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == model.config.vocab_size
    ids = tokenizer(prompt_text(tokenizer, "start 1 swap"), add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert bool(model(input_ids=ids).logits.isfinite().all())


def test_all_weights_together_stay_small_enough_for_the_repository() -> None:
    assert sum(file.stat().st_size for file in models.WEIGHTS.rglob("*") if file.is_file()) < 8_000_000


@pytest.mark.parametrize("family", models.FAMILIES)
def test_students_are_smaller_than_teachers_and_targets_than_students(family: str) -> None:
    teacher, student, target = (
        AutoModelForCausalLM.from_pretrained(models.model_folder(f"toy:{family}-{role}")).num_parameters()
        for role in models.ROLES
    )
    assert teacher > 3 * student
    assert student > target


@pytest.mark.parametrize(("family", "minimum"), [("qwen3", 0.95), ("gemma3", 0.95)])  # the README: 1.00
def test_the_teacher_is_right_in_both_styles(family: str, minimum: float) -> None:
    completions = _sample(f"toy:{family}-teacher", "toy-bm4", 200)
    for worked in (True, False):
        verdicts = [correct for text, correct in completions if text.startswith(OPENING) == worked]
        assert len(verdicts) > 30  # it uses both: a quarter of the answers are direct
        assert sum(verdicts) / len(verdicts) > minimum


@pytest.mark.parametrize(("family", "minimum"), [("qwen3", 0.80), ("gemma3", 0.93)])  # the README: 0.92, 0.99
def test_the_teacher_finds_the_letter_in_worked_answers(family: str, minimum: float) -> None:
    worked = [correct for text, correct in _sample(f"toy:{family}-teacher", "toy-csqa", 200) if OPENING in text]
    assert len(worked) > 50
    assert sum(worked) / len(worked) > minimum


@pytest.mark.parametrize("family", models.FAMILIES)
def test_the_untrained_student_mostly_writes_worked_answers_and_is_far_behind(family: str) -> None:
    completions = _sample(f"toy:{family}-student", "toy-bm4", 200)
    assert sum(text.startswith(OPENING) for text, _ in completions) / len(completions) > 0.7
    assert 0.25 < sum(correct for _, correct in completions) / len(completions) < 0.65


def test_an_unknown_model_is_an_input_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="toy:qwen3-teacher"):
        models.model_folder("toy:llama-teacher")


def test_an_unknown_model_is_refused_before_any_training(tmp_path) -> None:
    with pytest.raises(InputError, match="unknown toy model"):
        train_models(tmp_path, ["toy:qwen3-teacher", "toy:nothing"])
    assert not list(tmp_path.iterdir())
