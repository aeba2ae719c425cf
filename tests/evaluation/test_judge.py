"""The judge's question and reply, and both judges behind one interface."""

import pytest

from repro.errors import InputError
from repro.evaluation import judge as module
from repro.evaluation.judge import Case, ModelJudge, RuleJudge, ask_local_model, judge_prompt, parse_reply
from repro.generation.completion import Completion
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
def test_parse_reply(reply, expected):
    assert parse_reply(reply) == expected


def test_the_prompt_holds_the_completion_and_truncates_a_long_one():
    text = judge_prompt(Case("Q?", "begin " + "x" * 20_000 + " end", "numeric", "5", None, False))
    assert text.index("begin") < text.index("[...]") < text.index(" end\n</completion>")
    assert len(text) < 8_000
    assert "Right answer: 5" in text


def test_rules_judge_in_order():
    assert RuleJudge()([RIGHT, WRONG]) == [None, "hallucination"]


def test_a_model_is_asked_about_wrong_completions_only():
    received = []

    def ask(questions):
        received.extend(questions)
        return ["degradation"] * len(questions)

    assert ModelJudge("somewhere", ask)([RIGHT, WRONG, RIGHT]) == [None, "degradation", None]
    assert len(received) == 1
    assert ModelJudge("somewhere", ask)([RIGHT]) == [None]
    assert len(received) == 1


def test_a_judge_without_a_readable_reply_is_a_one_line_error(monkeypatch):
    """A real model through the real engine: the toy student knows no English, so none of its replies is readable."""
    monkeypatch.setattr(module, "judge_prompt", lambda case: case.prompt)  # the toy model's context is short
    with pytest.raises(InputError, match="names a mode"):
        ModelJudge("toy", ask_local_model(model_folder("toy:qwen3-student"), "transformers", 0))(
            [Case("start 3", "5", "numeric", "5", "4", True)]
        )


def test_a_judge_on_several_gpus_is_opened_on_all_of_them(monkeypatch):
    class Engine:
        def generate(self, prompts, *_):
            return [[Completion([1], [0.0], "eos")] for _ in prompts]

        def close(self):
            pass

    opened = []
    monkeypatch.setattr("repro.generation.engine.open_engine", lambda *request: opened.append(request) or Engine())
    replies = ask_local_model(model_folder("toy:qwen3-student"), "vllm", 0, tensor_parallel=4)(["start 3"])
    assert len(replies) == 1
    assert opened[0][0] == "vllm"
    assert opened[0][3] == 4
