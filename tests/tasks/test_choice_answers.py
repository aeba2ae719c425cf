"""Single-choice answers as models state them: a stated letter, never one that merely occurs."""

import pytest

from repro.tasks.answer_end import before_next_question
from repro.tasks.extraction import last_choice
from repro.tasks.grading import Grade, grade

STATED = [
    ("Answer: B", "B"),
    ("answer is (B)", "B"),
    ("The answer is B.", "B"),
    ("\\boxed{B}", "B"),
    ("\\boxed{\\text{B}}", "B"),
    ("\\boxed{(C)}", "C"),
    ("\\boxed{\\textbf{(D)}}", "D"),
    ("\\boxed{B. cats}", "B"),
    ("**Answer:** B", "B"),
    ("Answer: **B**", "B"),
    ("**Answer: B**", "B"),
    ("Answer: (B) cats", "B"),
    ("Answer: B) cats", "B"),
    ("Answer: B. cats", "B"),
    ("Answer: B cats", "B"),
    ("Answer: option C", "C"),
    ("the correct option is D", "D"),
    ("Final answer: J", "J"),
    ("Answer\n\nB", "B"),
    ("### Answer\nB", "B"),
    ("**Answer**\n**B**", "B"),
    ("Answer: b", "B"),
    ("answer: (e).", "E"),
    ("Answer: \uff22", "B"),
    ("Answer: \N{MATHEMATICAL BOLD CAPITAL B}", "B"),
    ("\u7b54\u6848\uff1aB", "B"),
    ("\u6700\u7ec8\u7b54\u6848\u662f (B)\u3002", "B"),
    ("Answer: A and B are wrong; answer: C", "C"),
    ("Answer: A. cats\n\nA. is right, since they purr.\nB. is wrong.", "A"),
    ("Answer: B. cats\nA. is wrong.", "B"),
    (r"\boxed{C. A. B. Smith}", "C"),
    ("Answer: A", "A"),
    ("Answer: A.", "A"),
    ("Answer: A because it is", "A"),
    ("Answer: A) bank", "A"),
    ("Answer: I", "I"),
    ("Answer: (I)", "I"),
    ("Answer: B, because", "B"),
    ("Answer: A, I think", "A"),
    ("The answer is B. Wait, the answer is C.", "C"),
    ("Answer: B\n\nQuestion: What? Answer: C", "B"),
    ("Question: Where? Answer: C", "C"),
    ("Answer: $B$", "B"),
    ("Answer: \\(B\\)", "B"),
    ("Answer: `B`", "B"),
    ("Answer: [B]", "B"),
    ("Answer:\u3000B", "B"),
    ("Answer：B", "B"),
    ("The answer to this question is (F).", "F"),
    ("The answer choice is G", "G"),
    ("The answer would be H", "H"),
    ("the answer is most likely (B)", "B"),
    ("Thus, the answer is therefore B", "B"),
    ("Answer: <B>", "B"),
    ('Answer: "B"', "B"),
    ("Answer: $\\text{B}$", "B"),
    ("Answer: $\\boxed{B}$", "B"),
    ("\\boxed{Answer: B}", "B"),
    ("\\boxed{A}", "A"),
    ("Answer = B", "B"),
    ("Answer: **(A)** because", "A"),
    ("Answer: A - bank", "A"),
    ("Answer: The correct answer is (B)", "B"),
    ("Answer: the letter B", "B"),
    ("\\boxed{\\mathrm{C}}", "C"),
    ("\\boxed{ D }", "D"),
    ("\\boxed{C: x}", "C"),
    ("\\boxed{C) x}", "C"),
    ("Answer: B and the reason is", "B"),
    ("The best choice is C.", "C"),
    ("answer is: (J)", "J"),
    ("Answer: A is right", "A"),
    ("The answer is (D) is wrong. The answer is (I).", "I"),
]

NOT_STATED = [
    "Answer: A and B are wrong",
    "Answer: A or C is not right",
    "\\boxed{42}",
    "The answer is a dog.",
    "The answer is A dog.",
    "Answer: A bank",
    "Answer: I don't know",
    "Answer: I think it is C",
    "Answer: I'd say",
    "A dog is a pet. A cat too.",
    "Answer: A or B",
    "Answer: B and C",
    "Answer: A/B/C/D/E",
    "Answer: B, C",
    "I do not know\nQuestion: x\nAnswer: C",
    "Answer: Bob",
    "Answer: C++",
    "Answer: B-cell",
    "Answer: A.D. 4",
    "the answer is not B",
    "Answer: X",
    "Answer: K",
    "\\boxed{A cat}",
    "\\boxed{B",
    "The answers are B",
    "",
    "answer: a cat",
    "Answer – B",
    "The answer is (D) is not right",
]


@pytest.mark.parametrize(("text", "letter"), STATED)
def test_a_stated_letter_is_found(text: str, letter: str) -> None:
    assert last_choice(before_next_question(text)) == letter
    assert grade("choice", text, letter) == Grade(letter, True)


@pytest.mark.parametrize("text", NOT_STATED)
def test_nothing_is_guessed(text: str) -> None:
    assert grade("choice", text, "A") == Grade(None, False)


def test_another_letter_is_wrong_and_counts_for_voting() -> None:
    assert grade("choice", "Answer: C", "B") == Grade("C", False)
    assert grade("choice", "Answer: C", None) == Grade("C", False)


@pytest.mark.parametrize("letter", "ABCDEFGHIJ")
@pytest.mark.parametrize(
    "form", ["Answer: {}", "The answer is ({}).", r"\boxed{{{}}}", "**Answer: {}**", "Answer: {}. soap"]
)
def test_all_ten_letters_in_every_form(form: str, letter: str) -> None:
    assert last_choice("Some thoughts.\n" + form.format(letter)) == letter


DECORATED = [
    *(
        "**(B)**",
        "B",
        "(B)",
        "B.",
        "**B**",
        "$B$",
        "[B]",
        r"\boxed{\text{B}}",
        r"\boxed{\textbf{(B)}}",
        "Answer: B)",
        "Answer: B.",
    ),
    *(
        "**Answer:** (B)",
        "Ans: B",
        "Answer: **(B)**",
        "*Answer*: B",
        r"Answer: \boxed{B}",
        r"\boxed{\text{Option B}}",
        r"\boxed{Option (B)}",
    ),
    *(r"\boxed{b}", r"\boxed{\text{(B)}}", r"\boxed{**B**}", r"\boxed{B.}", r"\boxed{\mathsf{B}}", r"\boxed{\bf B}"),
    *("It sinks.\n\n**(B)**", "It sinks.\n(B)", "Answer: $\\mathbf{B}$", "Answer: _B_", "Final answer: **B**"),
]


@pytest.mark.parametrize("text", DECORATED)
def test_decorated_letters_are_read(text: str) -> None:
    assert grade("choice", text, "B") == Grade("B", True)


SEVERAL = [
    "Answer: A, and also B",
    "Answer:\nA. cats\nB. dogs\nC. birds",
    "Answer: A) cats\n B) dogs",
    r"\boxed{A. cats B. dogs}",
    r"\boxed{(A) 5, (B) 6}",
    r"\boxed{A: 5, B: 6}",
    *("Answer: A or B", "Answer: A and B", "Answer: A, B", "Answer: A/B", "Answer: A & B", "Answer: AB", "Answer: A B"),
    *(
        "Answer: (A) or (B)",
        "Answer: **A** or **B**",
        "Answer: either A or B",
        "Answer: both A and B",
        "Answer: A or maybe B",
    ),
    *(
        "Answer: A; B",
        "Answer: A, and B.",
        "The answer is A or B.",
        "Answer: A and/or B",
        "Answer: A | B",
        "Answer: B or, less likely, A",
        "Answer: option A or option B",
    ),
    *(
        r"\boxed{A, B}",
        r"\boxed{A or B}",
        r"\boxed{\text{A and B}}",
        r"\boxed{AB}",
        r"\boxed{A/B}",
        r"\boxed{(A), (B)}",
    ),
    *(r"\boxed{A} or \boxed{B}", r"$\boxed{A}$ and $\boxed{B}$", r"\boxed{\text{A}, \text{B}}"),
]


@pytest.mark.parametrize("key", "AB")
@pytest.mark.parametrize("text", SEVERAL)
def test_several_letters_are_no_answer(text: str, key: str) -> None:
    assert grade("choice", text, key) == Grade(None, False)
    assert grade("choice", f"The answer is {key}. No.\n{text}", key) == Grade(None, False)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: B, not C",
        "Answer: B, A is wrong",
        "Answer: B and that is all",
        "Answer: B, I think",
        "Answer: D. Both A and B",
    ],
)
def test_a_letter_beside_its_reason_is_one(text: str) -> None:
    assert grade("choice", text, text[8]) == Grade(text[8], True)


@pytest.mark.parametrize("text", ["Options:\nA\nB\nC", "It is a pet.\nB", "A. B. Smith"])
def test_letters_that_merely_occur_are_not_read(text: str) -> None:
    assert grade("choice", text, "C") == Grade(None, False)
