"""A completion reasons if words come before its answer."""

import pytest

from repro.evaluation.reasoning import has_reasoning


@pytest.mark.parametrize(
    "text",
    [
        r"think 0 7 0 \boxed{0}",
        "think ruth E Answer: E",
        r"We add 2 and 3. The answer is $\boxed{5}$.",
        r"<think>two and three</think>\boxed{5}",
        r"\boxed{4} no, two and three are \boxed{5}",
        "words that never come to an answer",
    ],
)
def test_words_before_the_answer_are_reasoning(text):
    assert has_reasoning(text)


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{5}",
        "Answer: E",
        r"The final answer is \boxed{6}.",
        "So, the answer is: **B**.",
        r"\boxed{5} because two and three are five",
        "",
    ],
)
def test_a_bare_answer_is_none(text):
    assert not has_reasoning(text)
