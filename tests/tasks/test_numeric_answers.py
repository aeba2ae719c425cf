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


@pytest.mark.parametrize(
    "text", ["50%", r"50\%", "5 cm^2", "3 million", "1/0", "9" * 65, "2 5/3", "12 34", "0,234", "2e"]
)
def test_what_is_not_a_plain_number(text: str) -> None:
    assert parse_number(strip_typography(text)) is None


@pytest.mark.parametrize("text", ["-0.75", "12345678901234567890", "1/3", "-7/3", "0.0009765625", "0"])
def test_spelling_is_a_fixed_point(text: str) -> None:
    value = parse_number(text)
    assert value is not None
    assert format_number(value) == text


VALUES = [
    ("0.0000001", "0.0000004", False),
    ("1000000.0000001", "1000000", False),
    ("0.3333333333", "1/3", True),
    ("333.3333", "1000/3", True),
    ("0.000333", "1/3000", False),
    ("0.333334", "1/3", False),
    ("2/3", "0.666666666666667", True),
    ("0.666667", "0.666666666666667", True),
    (r"\frac{1}{2^{98}}", r"\frac{1}{2^{99}}", False),
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}", False),
    (r"\frac{2^{1999}+1}{3\cdot 2^{2000}}", r"\frac{2^{1999}}{3\cdot 2^{2000}}", False),
    (r"10^{-9}\sqrt{2}", r"2\cdot 10^{-9}\sqrt{2}", False),
    (r"(10^{-9}, 2)", r"(2\cdot 10^{-9}, 2)", False),
    (r"\pi + 10^{-30}", r"\pi", False),
    (r"10^{-9}x", r"2\cdot 10^{-9}x", False),
    ("2 2/3", "8/3", True),
    ("2 2/3", "4/3", False),
    (r"2\frac{2}{3}", "8/3", True),
    (r"-1\tfrac12", "-1.5", True),
    ("2½", "2.5", True),
    ("2 and 2/3", "8/3", True),
    ("2 5/3", "10/3", False),
    ("2 5/3", "11/3", False),
    (r"2\frac{1}{2}\pi", r"\frac{5\pi}{2}", True),
    (r"2\frac{1}{2}\pi", r"\pi", False),
    (r"2 \cdot \frac{2}{3}", "4/3", True),
    ("1 234", "1234", True),
    ("1 234", "235", False),
    ("1\u00a0234", "1234", True),
    ("1\u202f234\u202f567", "1234567", True),
    ("1'234'567.5", "1234567.5", True),
    ("1.234,56", "1234.56", True),
    ("1.234.567", "1234567", True),
    ("1.234", "1234", False),
    ("12,34,567", "1234567", True),
    ("12 34", "46", False),
    ("2 3", "5", False),
    ("0,234", "234", False),
    ("1,5", "1.5", False),
    ("1234", "1 234", True),
    ("1234.5", "1,234.50", True),
    ("10, 100", "10,100", True),
    ("1.5e-3", "0.0015", True),
    ("1e3", "1000", True),
    (r"2.5 \times 10^{-6}", "0.0000025", True),
    ("10^{-5}", "0.00001", True),
    ("1e-5", "0.00001", True),
    (r"0.1\overline{6}", "1/6", True),
    (r"0.\overline{3}", "0.3", False),
    ("0.(3)", "1/3", True),
    ("120_9", "120_8", False),
    ("120_9", r"120_{\text{nine}}", True),
    ("120 base 9", "120_9", True),
    ("(120)_9", "120_9", True),
    ("120_9", "120", False),
    ("2516", "2516_8", False),
    ("42", "52_8", False),
    ("42_{10}", "42", True),
    ("1f_{16}", "1F_{16}", True),
    ("0x1F", "1F_{16}", True),
    ("101_2", "12_3", False),
    ("3", "3s", False),
    ("3", "3s^2", False),
    ("3s^2", "3s^2", True),
    ("5m", "5", True),
    ("5x", "5", False),
    ("3\u20135", "-2", False),
    ("3 \u2013 5", "3\u20135", True),
    ("\u20135", "-5", True),
    ("x^2\u20135", "x^2-5", True),
    ("2024-05-05", "2014", False),
    (r"\{1,2\}", "(1,2)", False),
    ("(1,2)", r"\left\{1,2\right\}", False),
    (r"\{2,1\}", r"\{1,2\}", True),
    ("1,2", r"\{1,2\}", True),
    (r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", True),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", False),
    ("2x + 3y", "3y + 2x", True),
]


@pytest.mark.parametrize(("answer", "key", "is_equal"), VALUES)
def test_values(answer: str, key: str, is_equal: bool) -> None:
    assert grade("numeric", rf"\boxed{{{answer}}}", key).correct == is_equal


CHANGED = [
    ("5 thousand", "5", "5000"),
    (r"5 \text{ thousand}", "5", "5000"),
    ("5k", "5", "5000"),
    ("1.5 million dollars", "1.5", "1500000"),
    ("2 dozen", "2", "24"),
    (r"2 \text{ dozens}", "2", "24"),
    ("3 pairs", "3", "6"),
    ("5 score", "5", "100"),
    ("5 doz.", "5", "60"),
    ("half a dozen", "12", "6"),
    ("5 tens", "5", "50"),
    ("$5 grand", "5", "5000"),
    ("5 per cent", "5", "0.05"),
    ("twice 5", "5", "twice 5"),
    ("3(1/2)", "3.5", "3(1/2)"),
    ("5 (mod 7)", "5", "5 (mod 7)"),
    ("5 out of 6", "5", "5 out of 6"),
    ("5 feet 3 inches", "5", "5 feet 3 inches"),
    ("3 quarters", "3", "3/4"),
    ("50%", "50", "0.5"),
    (r"50\%", "50", "1/2"),
    ("50 percent", "50", "50%"),
    ("50", "50%", "50"),
    (r"\frac{1}{2}\%", "1/2", "0.005"),
    ("5 km", "5 m", "5 km"),
    ("5 MW", "5 mW", "5 MW"),
    ("5 Mb", "5 MB", "5 Mb"),
    (r"5 \text{ kilometers}", r"5 \text{ m}", r"5 \text{ km}"),
    ("5 cm^2", "5 cm", "5 square centimeters"),
    ("5 cents", r"\$5", "5 cents"),
    ("5 euros", "5 dollars", "5€"),
    ("5 hours", "5 minutes", "5 h"),
    ("30 degrees", "30 radians", r"30^\circ"),
    (r"\sqrt{2} \text{ km}", r"\sqrt{2} \text{ m}", r"\sqrt{2} \text{ kilometers}"),
    ("negative 5", "5", "-5"),
    ("minus 5", "5", "-5"),
    ("5 squared", "5", "5 squared"),
    ("5 halves", "5", "5/2"),
    ("5 below zero", "5", "5 below zero"),
    ("at least 5", "5", "at least 5"),
    ("x + 2 = 5", "5", "x + 2 = 5"),
    ("y = 5", "x = 5", "5"),
    ("1:03 AM", "1:03 PM", "1:03 AM"),
    (r"3 \text{ boys}", r"3 \text{ girls}", "3"),
]


@pytest.mark.parametrize(("answer", "wrong", "right"), CHANGED)
def test_words_and_units_that_change_the_value(answer: str, wrong: str, right: str) -> None:
    assert not grade("numeric", rf"\boxed{{{answer}}}", wrong).correct
    assert grade("numeric", rf"\boxed{{{answer}}}", right).correct


def test_a_scale_that_the_question_asks_in_may_be_written_or_not() -> None:
    for answer, key, question in [
        ("60%", "60", "What percent of the class is tall?"),
        ("60", "60%", "What percentage is tall?"),
        ("3 dozen", "3", "How many dozen eggs are there?"),
        ("5 thousand", "5", "How many thousands of people?"),
        ("4 pairs", "4", "How many pairs of shoes?"),
    ]:
        assert grade("numeric", rf"\boxed{{{answer}}}", key, question).correct, answer
        assert not grade("numeric", rf"\boxed{{{answer}}}", key, "How many are tall?").correct, answer


DECORATED = [
    *("**5**", "__5__", "*5*", "`5`", '"5"', r"\textbf{5}", r"\mathbf{5}", r"\mathrm{5}", r"\text{5}", r"\textit{5}"),
    *(r"\emph{5}", r"\underline{5}", r"\mathsf{5}", r"\boldsymbol{5}", r"\bm{5}", r"\bf 5", r"{\bf 5}", r"\large 5"),
    *(r"\Large{5}", r"\color{red}{5}", r"\textcolor{red}{5}", r"\displaystyle 5", r"\mathbf{\text{5}}", "$5$", "$$5$$"),
    *(
        "$5",
        r"\$5",
        r"US\$5",
        "USD 5",
        "5 USD",
        "€5",
        "5€",
        "£5",
        "Rs. 5",
        "5,",
        "5;",
        "5..",
        "5 .",
        "= 5",
        ": 5",
        r"5\\",
    ),
    *("x = 5", "n=5.", "f(2) = 5", "AB = 5", r"\angle ABC = 5", "total = 5", "Answer: 5", "The final answer is 5."),
    *(r"\text{Answer: } 5", r"\text{Total} = 5", r"\approx 5", "about 5", "5 units", r"5\,\text{cm}", r"5~\mathrm{cm}"),
    *(
        r"\text{5 cm}",
        r"\mathrm{5\,cm}",
        "5 cm^2",
        "5 m/s",
        "5 miles per hour",
        "5 sq. ft.",
        "5 square units",
        "5th",
        "5°",
    ),
    *(
        r"5^{\text{th}}",
        r"5\hspace{1mm}",
        r"5 \checkmark",
        "５",
        "five",
        "(5)",
        "{5}",
        "+5",
        "05",
        "5.0",
        r"\frac{10}{2}",
    ),
    *("10 ÷ 2", "<b>5</b>", "5<br>", r"\boxed{5}", r"\left(5\right)", r"5 \quad", "5 eggs"),
]


@pytest.mark.parametrize("answer", DECORATED)
def test_decorated_spellings_are_read(answer: str) -> None:
    assert grade("numeric", rf"\boxed{{{answer}}}", "5") == Grade("5", True)
    assert not grade("numeric", rf"\boxed{{{answer}}}", "6").correct


@pytest.mark.parametrize(
    "answer", ["–5", "－5", "- 5", "-$5", r"\$-5", "(-5)", "x = -5", "-5 degrees", "negative five"]
)
def test_decorated_negative_numbers(answer: str) -> None:
    assert grade("numeric", rf"\boxed{{{answer}}}", "-5").correct
    assert not grade("numeric", rf"\boxed{{{answer}}}", "5").correct


def test_boxes_joined_by_a_word_are_one_answer() -> None:
    assert grade("numeric", r"$\boxed{2}$ and $\boxed{3}$", "2, 3").correct
    assert not grade("numeric", r"\boxed{2} or \boxed{3}", "3").correct
    assert grade("numeric", r"\boxed{2}. No, it is \boxed{3}", "3").correct


def test_plain_numbers_never_reach_the_algebra_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "compare", None)
    texts = [rf"start {n} twice \boxed{{{n % 8}}}" for n in range(5000)]
    assert sum(grade("numeric", text, "3").correct for text in texts) == 625
