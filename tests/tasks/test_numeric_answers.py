"""Numeric answers as models write them: extraction, equality, and one spelling per value."""

import pytest

from repro.tasks import grading
from repro.tasks.grading import Grade, grade
from repro.tasks.numerals import format_number, parse_number, strip_typography

RIGHT = [
    (r"so \boxed{18}", "18"),
    (r"\boxed{2} no, wait: \boxed{3}", "3"),
    (r"\boxed{10{,}000}", "10000"),
    (r"\boxed{10,000}", "10000"),
    (r"\boxed{10\,000}", "10000"),
    (r"\boxed{10,\!000}", "10000"),
    (r"\boxed{10000.00}", "10000"),
    (r"\boxed{\$18.50}", "18.5"),
    (r"\boxed{$18$}", "18"),
    (r"\boxed{\(18\)}", "18"),
    (r"\boxed{18.}", "18"),
    (r"\boxed{ 18 }", "18"),
    (r"\boxed {18}", "18"),
    (r"\fbox{18}", "18"),
    (r"\boxed{18 dollars}", "18"),
    (r"\boxed{18 \text{ dollars}}", "18"),
    (r"\boxed{18\%}", r"18\%"),
    (r"\boxed{\text{18}}", "18"),
    (r"\boxed{+18}", "18"),
    ("\\boxed{\N{MINUS SIGN}18}", "-18"),
    (r"\boxed{.5}", "0.5"),
    (r"\boxed{1/2}", "0.5"),
    (r"\boxed{\frac{1}{2}}", "1/2"),
    (r"\boxed{\dfrac12}", r"\frac{1}{2}"),
    (r"\boxed{-\frac{3}{4}}", "-0.75"),
    (r"\boxed{\frac{-3}{4}}", "-0.75"),
    (r"\boxed{0.333333}", "1/3"),
    (r"\boxed{x = 5}", "5"),
    (r"\boxed{12^\circ}", "12"),
    (r"\boxed{2 \times 10^3}", "2000"),
    (r"\boxed{\sqrt{12}}", r"2\sqrt{3}"),
    (r"\boxed{\frac{\sqrt{3}}{2}}", r"\sqrt{3}/2"),
    (r"\boxed{\left(1, 2\right)}", "(1,2)"),
    (r"\boxed{2, 1}", "1,2"),
    (r"\boxed{\left\{1,2\right\}}", r"\{2,1\}"),
    (r"\boxed{[0,1)}", "[0,1)"),
    (r"\boxed{(x+1)^2}", "x^2+2x+1"),
    (r"\boxed{\text{even}}", "even"),
    (r"\boxed{\pi}", r"\pi"),
    (r"\boxed{\boxed{18}}", "18"),
    (r"\boxed{18} and put it in \boxed{}", "18"),
    (r"\boxed{18} then \boxed{19", "18"),
    (r"\boxed{7} unclosed { brace", "7"),
]

WRONG = [
    (r"\boxed{2} no, wait: \boxed{3}", "2", "3"),
    (r"\boxed{17}", "18", "17"),
    (r"\boxed{100001}", "100000", "100001"),
    (r"\boxed{-18}", "18", "-18"),
    (r"\boxed{1.8}", "18", "1.8"),
    (r"\boxed{0.33}", "1/3", "0.33"),
    (r"\boxed{5 million}", "5", None),
    (r"\boxed{5 and 6}", "5", None),
    (r"\boxed{1,2}", "1", None),
    (r"\boxed{(1,2)}", "(2,1)", None),
    (r"\boxed{\frac{1}{0}}", "0", None),
    (r"\boxed{odd}", "even", None),
]

NONE = ["the answer is 18", r"\boxed{18", r"\boxed{}", r"\boxed{ . }", "", "#### 18", r"\boxed", "boxed{18}"]


@pytest.mark.parametrize(("text", "key"), RIGHT)
def test_right_answers_become_the_key(text: str, key: str) -> None:
    assert grade("numeric", text, key) == Grade(key, True)


@pytest.mark.parametrize(("text", "key", "spelling"), WRONG)
def test_wrong_answers_stay_wrong(text: str, key: str, spelling: str | None) -> None:
    graded = grade("numeric", text, key)
    assert not graded.correct
    assert graded.answer is not None
    if spelling is not None:
        assert graded.answer == spelling


@pytest.mark.parametrize("text", NONE)
def test_no_closed_box_is_no_answer(text: str) -> None:
    assert grade("numeric", text, "18") == Grade(None, False)


def test_equal_wrong_answers_have_one_spelling() -> None:
    groups = [
        [r"\boxed{10{,}000}", r"\boxed{10000}", r"\boxed{10,000.0}", r"\boxed{10^4}", r"\boxed{\$10000}"],
        [r"\boxed{0.5}", r"\boxed{1/2}", r"\boxed{\frac{2}{4}}", r"\boxed{\frac12}"],
        [r"\boxed{\frac{\sqrt{3}}{2}}", r"\boxed{\sqrt{3}/2}", r"\boxed{\frac{1}{2}\sqrt{3}}"],
        [r"\boxed{1/3}", r"\boxed{\frac{2}{6}}"],
    ]
    spellings = [{grade("numeric", text, "7").answer for text in group} for group in groups]
    assert [len(group) for group in spellings] == [1, 1, 1, 1]
    assert {"10000", "0.5", "1/3"} < set().union(*spellings)


def test_without_a_key_the_answer_is_extracted_and_not_judged() -> None:
    assert grade("numeric", r"\boxed{1,000}", None) == Grade("1000", False)
    assert grade("numeric", r"\boxed{\sqrt 2}", None) == Grade(r"\sqrt 2", False)


def test_open_completions_are_not_graded() -> None:
    assert grade("open", r"\boxed{18} Answer: B", None) == Grade(None, False)


@pytest.mark.parametrize("text", ["1 234", "1 1/2", "50%", r"50\%", "5 cm^2", "2e3", "3 million", "1/0", "9" * 65])
def test_what_is_not_a_plain_number_is_left_to_math_verify(text: str) -> None:
    assert parse_number(strip_typography(text)) is None


@pytest.mark.parametrize("text", ["-0.75", "12345678901234567890", "1/3", "-7/3", "0.0009765625", "0"])
def test_spelling_is_a_fixed_point(text: str) -> None:
    value = parse_number(text)
    assert value is not None
    assert format_number(value) == text


def test_plain_numbers_never_reach_the_algebra_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "compare", None)
    texts = [rf"start {n} twice \boxed{{{n % 8}}}" for n in range(5000)]
    assert sum(grade("numeric", text, "3").correct for text in texts) == 625
