"""Readings that are known without math-verify are those of math-verify."""

import itertools
import string

import pytest

from repro.tasks import equality
from repro.tasks.equality_child import compare_expressions
from repro.tasks.grading import grade
from repro.tasks.known_forms import known_form

SINGLES = [letter + number for letter in string.ascii_letters for number in ("", "1", "12")]
PAIRS = [a + b + number for a, b in itertools.product("AIdnort", "xIenr") for number in ("", "7")]
UNREADABLE = ["\ufffd", "\ufffd\ufffd", "\ufffd0", "2\ufffd", "5\ufffd3", "k\ufffd7", "\x06", "\x042", "1\x1b", "\x7f"]


@pytest.mark.parametrize("key", ["0", "-12"])
def test_known_forms_are_those_of_math_verify(key: str) -> None:
    answers = [*SINGLES, *PAIRS, *UNREADABLE]
    known = {answer: form for answer in answers if (form := known_form(answer, key)) is not None}
    assert len(known) > 180
    asked = {answer: compare_expressions(answer, key) for answer in known}
    assert {answer: (verdict["is_equal"], verdict["form"]) for answer, verdict in asked.items()} == known


@pytest.mark.parametrize(
    ("answer", "key"), [("x", r"\frac12"), ("x", "y"), ("e", "2"), ("e2", "2"), ("dx", "1"), ("or", "1"), ("nn", "1")]
)
def test_what_may_be_more_than_symbols_is_asked(answer: str, key: str) -> None:
    assert known_form(answer, key) is None


def test_a_symbol_times_zero_is_no_zero() -> None:
    assert compare_expressions("A0", "0")["is_equal"]
    assert not grade("numeric", r"\boxed{A0}", "0").correct
    assert grade("numeric", r"\boxed{0}", "0").correct


def test_no_process_starts_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equality, "_child", None)
    equality.compare.cache_clear()
    for answer in ("r2", "is7", "\ufffd4", "A0"):
        assert not grade("numeric", rf"\boxed{{{answer}}}", "4").correct
