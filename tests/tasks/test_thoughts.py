"""Thoughts are no answer, finished or not, also when the prompt opened them."""

import pytest

from repro.tasks.grading import Grade, grade
from repro.tasks.thoughts import has_unfinished_thought, prompt_opens_thought, visible_text


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("no thought", "no thought"),
        ("<think>a</think>b", "b"),
        ("<think>\n\n</think>\n\nb", "\n\nb"),
        ("a</think>b", "b"),
        ("x<think>a</think>b", "xb"),
        ("<think>a</think>b<think>c</think>d", "bd"),
        ("a</think>b</think>c", "c"),
        ("<think>a<think>b</think>c", "c"),
        ("<think>a", ""),
        ("x<think>a", ""),
        ("<think>a</think>b<think>c", ""),
        ("<THINK>a</Think>b", "b"),
        ("<thinking>a</thinking>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("<seed:think>a", ""),
        ("\u25c1think\u25b7a\u25c1/think\u25b7b", "b"),
        ("\u25c1think\u25b7a", ""),
        ("1 < 2 and [3]", "1 < 2 and [3]"),
    ],
)
def test_visible_text(text: str, visible: str) -> None:
    assert visible_text(text) == visible
    assert has_unfinished_thought(text) == (visible == "")


def test_a_thought_that_the_prompt_opened() -> None:
    assert visible_text("a</think>b", opens_in_thought=True) == "b"
    assert visible_text("so \\boxed{12}? No, wait", opens_in_thought=True) == ""
    assert visible_text("a</think>b<think>c</think>d", opens_in_thought=True) == "bd"
    assert has_unfinished_thought("a", opens_in_thought=True)
    assert not has_unfinished_thought("a</think>b", opens_in_thought=True)
    assert prompt_opens_thought("<|im_start|>assistant\n<think>\n")
    assert not prompt_opens_thought("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not prompt_opens_thought("What does <think> mean?<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("kind", "thought", "answer", "key"),
    [
        ("numeric", "so \\boxed{12}? No, wait", "\\boxed{13}", "13"),
        ("choice", "Maybe the answer is B. Hmm", "Answer: C", "C"),
    ],
)
def test_thoughts_are_not_graded(kind, thought, answer, key) -> None:
    wrong = "12" if kind == "numeric" else "B"
    assert grade(kind, f"<think>{thought}", wrong) == Grade(None, False)
    assert grade(kind, thought, wrong, opens_in_thought=True) == Grade(None, False)
    assert grade(kind, f"<think>{thought}</think>", wrong) == Grade(None, False)
    assert grade(kind, f"<think>{thought}</think>{answer}", key) == Grade(key, True)
    assert grade(kind, f"{thought}</think>{answer}", key) == Grade(key, True)
    assert grade(kind, f"{answer}<think>{thought}</think>", key) == Grade(key, True)
