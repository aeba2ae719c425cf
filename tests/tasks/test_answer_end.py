"""Where an answer ends: before the model goes on with a question of its own, not before a restated one."""

import time

import pytest

from repro.tasks.answer_end import before_next_question
from repro.tasks.grading import Grade, grade

HEADINGS = [
    *(
        "Question: {}",
        "question 2: {}",
        "### Question: {}",
        "**Question:** {}",
        "**Question**: {}",
        "Question\n{}",
        "Q: {}",
        "\u95ee\u9898\uff1a{}",
        "\u9898\u76ee 2: {}",
    ),
    *(
        "Q. {}",
        "Q2: {}",
        "Problem: {}",
        "Problem 2. {}",
        "**Problem 2**\n{}",
        "Exercise 3: {}",
        "Human: {}",
        "User: {}",
    ),
    *(
        "### Human: {}",
        "### User:\n{}",
        "<|im_start|>user\n{}",
        "<|user|>\n{}",
        "[INST] {} [/INST]",
        "<start_of_turn>user\n{}",
    ),
    *(
        "<|endoftext|>{}",
        "</s>{}",
        "<\uff5cUser\uff5c>{}",
        "user\n{}",
        "2. {}",
        "2) {}",
        "(2) {}",
        "### Instruction:\n{}",
        "Task: {}",
    ),
    *(
        "Next question: {}",
        "Another problem: {}",
        "Example 2: {}",
        "Question #2: {}",
        "Question No. 2: {}",
        "Instruction: {}",
    ),
]


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_question_of_its_own_ends_the_answer(heading: str) -> None:
    own = heading.format("What is 3 + 4?")
    assert grade("numeric", f"So \\boxed{{18}}\n\n{own}\nAnswer: \\boxed{{7}}", "18") == Grade("18", True)
    assert grade("choice", f"Answer: B\n\n{own}\nA. 6\nC. 7\nAnswer: C", "B") == Grade("B", True)


def test_a_choice_of_its_own_without_a_heading_ends_the_answer() -> None:
    own = "Which of these is a mammal?\n\nA. trout\nC. whale\nAnswer: C"
    assert grade("choice", f"Answer: B\n\n{own}", "B") == Grade("B", True)
    assert grade("choice", f"The options again.\n{own}", "C") == Grade("C", True)
    assert grade("choice", f"Answer: B? Let me see.\n{own}", "C", own[:27]) == Grade("C", True)


@pytest.mark.parametrize("speaker", ["Human", "User"])
def test_a_dialogue_of_its_own_ends_the_answer(speaker: str) -> None:
    text = f"\\boxed{{18}}\n\n{speaker}: what is 3+4?\n\nAssistant: \\boxed{{7}}"
    assert grade("numeric", text, "18") == Grade("18", True)
    assert grade("numeric", text, "7") == Grade("18", False)
    assert grade("numeric", f"I do not know.\n\n{speaker}: what is 3+4?\n\nAssistant: \\boxed{{7}}", "7").answer is None


ASKED = "How many eggs do 3 hens lay in 6 days?"
RESTATED = [
    "Question: {} Each lays one a day. \\boxed{{18}}",
    "Sure! The question again:\nQuestion: {}\nSo \\boxed{{18}}",
    "Let me think.\n\nQuestion: {}\nSo \\boxed{{18}}",
    "First try \\boxed{{17}}, which is wrong. Again:\nProblem: {}\nSo \\boxed{{18}}",
    "1. {}\n2. Each lays one a day.\n3. So \\boxed{{18}}",
    "**Problem**\n{}\n**Solution**\n\\boxed{{18}}",
]


@pytest.mark.parametrize("text", RESTATED)
def test_a_restated_question_does_not(text: str) -> None:
    assert grade("numeric", text.format(ASKED), "18", f"{ASKED}\n\nReason step by step.") == Grade("18", True)
    letters = text.format(ASKED).replace("\\boxed{18}", "Answer: B").replace("\\boxed{17}", "Answer: A")
    assert grade("choice", letters, "B", ASKED) == Grade("B", True)


NOT_ENDED = [
    "1. First \\boxed{3}.\n2. Then \\boxed{18}.",
    "\\boxed{17}. Let me verify:\n1. 3 * 6 = 18\n2. So it is \\boxed{18}",
    "The problem: eggs.\n\\boxed{17} Wait, \\boxed{18}",
    "Q1 = 3 and Q2 = 6, so \\boxed{18}",
    "We need:\nProblem: 3 * 6\n\\boxed{18}",
    "\\boxed{17}\n\nAnswer: \\boxed{18}",
]


@pytest.mark.parametrize("text", NOT_ENDED)
def test_an_answer_goes_on_through_lists_and_corrections(text: str) -> None:
    assert grade("numeric", text, "18") == Grade("18", True)


def test_before_any_answer_only_a_choice_ends_at_a_question() -> None:
    assert grade("choice", "I do not know\nQuestion: x\nAnswer: C", "C") == Grade(None, False)
    assert grade("numeric", "I ask:\n\nQuestion: how many a day?\nOne. So \\boxed{18}", "18") == Grade("18", True)
    first = "Cold water sinks.\nAnswer: D\n"
    for heading in ("Question: Why?", "question 2: Why?", "### Question: Why?", "**Question:** Why?"):
        assert before_next_question(f"{first}{heading}\nAnswer: E") == first
    assert grade("choice", "Question: Why does it sink?\nAnswer: D", "D").correct
    assert grade("choice", "My question: is it D or E? Answer: E", "E").correct


@pytest.mark.parametrize(
    "line",
    ["Question: why?\n", "2. why?\n", "\\boxed{", "Q:", "<|", "Answer: A or ", "user\n", "</think>", "why so?\nA. x\n"],
)
@pytest.mark.load_sensitive
def test_time_is_linear_in_the_length(line: str) -> None:
    start = time.process_time()
    for kind in ("numeric", "choice"):
        grade(kind, "x\n" + line * 20_000, "5")  # type: ignore[arg-type]
    assert time.process_time() - start < 4
