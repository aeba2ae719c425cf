"""The shortcuts of extraction for plain answers give what the patterns give."""

import random

import pytest

from repro.tasks import extraction, grading

PIECES = [
    "\\boxed{",
    "\\boxed{5}",
    "\\boxed {",
    "{",
    "}",
    "\\",
    "\\\\",
    " ",
    "B",
    "12",
    "\\}",
    "\\{",
    "(",
    "$",
    "\\text{",
    "or",
    "\n",
    ".",
]
WORDS = [
    "Answer",
    "answers:",
    "is",
    ": B",
    "C",
    "option",
    "Best",
    "Answer: B",
    " ",
    "\n",
    "ANS",
    "correct choice",
    "not",
    "ſ",
    "答案",
]
LINES = [
    "<think>",
    "</think>",
    "[INST]",
    "user:",
    "Q: ",
    "or ",
    " 3 ",
    "Answer: A",
    "best option: ",
    "\\boxed{3} and ",
]


def random_texts(pieces, count):
    """Yield texts of one to eight pieces."""
    generator = random.Random(0)
    for _ in range(count):
        yield "".join(generator.choices(pieces, k=generator.randrange(1, 9)))


def test_plain_boxes_are_those_of_the_pattern():
    texts = list(random_texts(PIECES, 20_000))
    only_boxes = [text for text in texts if text.count("{") == text.count("\\boxed{")]
    assert all(sum(len(extraction._plain_boxes(text) or ()) == count for text in only_boxes) > 50 for count in (1, 2))
    assert sum(extraction._plain_boxes(text) is None for text in only_boxes) > 50
    for text in texts:
        assert extraction._boxes(text) == extraction._nested_boxes(text), text


@pytest.mark.parametrize(("kind", "pieces"), [("numeric", [*PIECES, *LINES]), ("choice", [*WORDS, *LINES])])
def test_a_plain_answer_is_the_one_that_the_rules_find(kind, pieces):
    answers = 0
    for text in (f"{text}{end}" for text in random_texts(pieces, 10_000) for end in ("Answer: B", "\\boxed{12}", "")):
        answer = extraction.plain_answer(kind, text)
        assert answer is None or answer == grading._extract(kind, text, "", opens_in_thought=False), text
        answers += answer is not None
    assert answers > 500


def test_integers_are_graded_as_other_numbers_are():
    numbers = [0, 1, 7, 10, 100, 700, 1000, 12345, 10**6, 10**12, 123456789012345678]
    for answer in numbers:
        for key in numbers:
            grade = grading.grade("numeric", f"\\boxed{{{answer}}}", str(key))
            assert grade == grading.grade("numeric", f"\\boxed{{+{answer}.0}}", str(key))  # takes the rules


def test_statements_begin_where_the_search_begins():
    matches = 0
    for text in random_texts(WORDS, 20_000):
        statements = [match.span() for match in extraction._STATED.finditer(text)]
        start = extraction._first_subject(text)
        assert [match.span() for match in extraction._STATED.finditer(text, start)] == statements, text
        matches += bool(statements) and start > 0
    assert matches > 50


def test_one_character_in_a_box_is_a_letter_or_none():
    for code in range(1, 0x3000):
        content = chr(code)
        padded = extraction._boxed_letter(f"{content} ")  # takes the patterns
        assert extraction._boxed_letter(content) == padded or content.isspace(), hex(code)
