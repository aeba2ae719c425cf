"""The judge's question and reply, and both judges behind one interface."""

import pytest

from repro.errors import InputError
from repro.evaluation import judge as module
from repro.evaluation.judge import Case, ModelJudge, RuleJudge, ask_local_model, question, reading
from repro.toy.models import model_folder

WRONG = Case("How many?", "It is 4. \\boxed{4}", "numeric", "5", "4", True)
RIGHT = Case("How many?", "It is 5. \\boxed{5}", "numeric", "5", "5", True)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("self-correction", ("self_correction", True)),
        ("Mode: Hallucination.", ("hallucination", True)),
        ("none of them; no degradation", (None, True)),
        ("degradation, not hallucination", ("degradation", True)),
        ("<think>a hallucination?</think>\n\nself_correction", ("self_correction", True)),
        ("<think>\nIs it a hallucination, or", (None, False)),
        ("I cannot tell.", (None, False)),
        ("", (None, False)),
    ],
)
def test_reading(reply, expected):
    assert reading(reply) == expected


def test_the_question_holds_what_is_judged_and_cuts_what_is_long():
    text = question(Case("Q?", "begin " + "x" * 20_000 + " end", "numeric", "5", None, False))
    assert text.index("begin") < text.index("[...]") < text.index(" end\n</completion>")
    assert len(text) < 8_000
    assert "Right answer: 5" in text


def test_rules_judge_in_order():
    assert RuleJudge()([RIGHT, WRONG]) == [None, "hallucination"]


def test_a_model_sees_wrong_completions_alone():
    asked = []

    def ask(questions):
        asked.extend(questions)
        return ["degradation"] * len(questions)

    assert ModelJudge("somewhere", ask)([RIGHT, WRONG, RIGHT]) == [None, "degradation", None]
    assert len(asked) == 1
    assert ModelJudge("somewhere", ask)([RIGHT]) == [None]
    assert len(asked) == 1


def test_a_judge_that_never_answers_is_one_line(monkeypatch):
    """A real model through the real engine: the toy student knows no English, so none of its replies can be read."""
    monkeypatch.setattr(module, "question", lambda case: case.prompt)  # its tokens are few, and its context short
    with pytest.raises(InputError, match="names a mode"):
        ModelJudge("toy", ask_local_model(model_folder("toy:qwen3-student"), "transformers", 0))(
            [Case("start 3", "5", "numeric", "5", "4", True)]
        )
