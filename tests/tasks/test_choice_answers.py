"""Single-choice answers as models state them: a stated letter, never one that merely occurs."""

import pytest

from repro.tasks.extraction import before_next_question, last_choice
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
    assert last_choice(text) == letter
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


def test_text_ends_where_the_model_continues_with_a_new_question() -> None:
    first = "Cold water sinks.\nAnswer: D\n"
    for heading in ("Question: Why?", "question 2: Why?", "### Question: Why?", "**Question:** Why?"):
        assert before_next_question(f"{first}{heading}\nAnswer: E") == first
        assert last_choice(f"{first}{heading}\nAnswer: E") == "D"
    assert last_choice("Question: Why does it sink?\nAnswer: D") == "D"
    assert last_choice("My question: is it D or E? Answer: E") == "E"
