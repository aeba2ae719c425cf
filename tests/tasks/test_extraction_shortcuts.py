"""The shortcuts of extraction for plain answers give what the patterns give."""

import random

from repro.tasks import extraction

PIECES = [
    "\\boxed{",
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


def random_texts(pieces, count):
    """Yield texts of one to eight pieces."""
    generator = random.Random(0)
    for _ in range(count):
        yield "".join(generator.choices(pieces, k=generator.randrange(1, 9)))


def test_the_only_box_is_that_of_the_pattern():
    texts = list(random_texts(PIECES, 20_000))
    assert sum(text.count("{") == 1 and bool(extraction._boxes(text)) for text in texts) > 100
    for text in texts:
        assert extraction._boxes(text) == extraction._nested_boxes(text), text


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
