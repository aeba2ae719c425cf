"""Script of the grading child of `equality.py`: reads [answer, key] lines, writes {"is_equal", "form"} lines.

Two limits on processor time guard each question: a timer that raises between byte codes, and the kernel's own limit,
which ends the process inside one long C call (a huge integer power). Memory is limited too.

Arguments: the minimum of the limit in seconds, and the limit in multiples of this process's start-up.
"""

import functools
import json
import logging
import math
import os
import resource
import signal
import sys
import time
from types import FrameType
from typing import Any

MEMORY_BYTES = 4 * 2**30
MAX_FORM = 400
CLOSE = 5e-6
"""Relative difference within which a decimal in an expression stands for an irrational number."""
EXACT_DIGITS = 1000
"""Digits of precision for comparing the difference of two exact expressions with 0."""
UNDECIDED: dict[str, object] = {"is_equal": None, "form": None}


class OutOfTimeError(BaseException):
    """Not an Exception: the libraries below swallow those."""


def _expire(signal_number: int, frame: FrameType | None) -> None:
    raise OutOfTimeError


def compare_expressions(answer: str, key: str) -> dict[str, object]:
    """Return the verdict of math-verify. The key comes first, since its comparison is not symmetric."""
    from math_verify import verify

    gold, parsed = list(_parse(key)), list(_parse(answer))
    if gold and parsed and is_refuted(gold[0], parsed[0]):
        return {"is_equal": False, "form": _form(parsed)}
    return {"is_equal": bool(verify(gold, parsed, timeout_seconds=None)), "form": _form(parsed)}


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Any, ...]:
    """Parse an expression with math-verify, cached: all completions of a prompt share its key."""
    from math_verify import LatexExtractionConfig, parse

    config = [LatexExtractionConfig()]
    return tuple(parse(f"${text}$", extraction_config=config, parsing_timeout=None, fallback_mode="first_match"))


def is_refuted(key: Any, answer: Any) -> bool:
    """Return True if two parsed expressions surely have different values.

    math-verify compares absolute differences to 6 decimals or 15 digits, so all small numbers are equal, as are sums
    with equal large terms. Here exact values are compared exactly, and others by relative difference.
    """
    import sympy

    pairs = _numeric_parts(key, answer)
    try:
        return any(_differ(sympy.sympify(first), sympy.sympify(second)) for first, second in pairs)
    except (
        ArithmeticError,
        AttributeError,
        TypeError,
        ValueError,
    ):  # not numbers after all: math-verify's verdict stands
        return False


def _numeric_parts(key: Any, answer: Any) -> list[tuple[Any, Any]]:
    """Return the values that must agree: the expressions', or those of the elements of two collections."""
    import sympy

    def elements(value: Any) -> list[Any] | None:
        if isinstance(value, sympy.Interval):
            return [value.start, value.end]
        if isinstance(value, sympy.FiniteSet | sympy.Tuple):
            return list(value.args)
        return list(value) if isinstance(value, sympy.MatrixBase) else None

    if isinstance(key, sympy.core.relational.Relational) or isinstance(answer, sympy.core.relational.Relational):
        sides = [getattr(value, "rhs", value) for value in (key, answer)]
        lefts = [getattr(value, "lhs", None) for value in (key, answer)]
        is_comparable = None in lefts or lefts[0] == lefts[1]
        return _numeric_parts(*sides) if is_comparable else []
    parts = [elements(value) for value in (key, answer)]
    if parts[0] is None and parts[1] is None:
        return [(key, answer)]
    first, second = (part or [value] for part, value in zip(parts, (key, answer)))
    if len(first) != len(second):
        return []
    if isinstance(key, sympy.FiniteSet) or isinstance(answer, sympy.FiniteSet):
        numbers = all(sympy.sympify(value).is_comparable for value in (*first, *second))
        if not numbers:
            return []
        first, second = (sorted(part, key=lambda value: sympy.N(value, 50)) for part in (first, second))
    return list(zip(first, second))


def _differ(key: Any, answer: Any) -> bool:
    """Return True if two expressions surely have different values, at two points if they have variables."""
    import sympy

    key, answer = key.doit(), answer.doit()
    if key == answer:
        return False
    symbols = sorted(key.free_symbols, key=str)
    if key.free_symbols != answer.free_symbols:
        return False
    if symbols:
        return any(
            _differ(
                *(
                    value.subs({s: sympy.Rational(n, 7) for n, s in enumerate(symbols, first)})
                    for value in (key, answer)
                )
            )
            for first in (3, 11)
        )
    if key.has(sympy.Float) or answer.has(sympy.Float):
        key, answer = key.evalf(30), answer.evalf(30)
        return bool(abs(key - answer) > CLOSE * abs(key))
    difference = key - answer
    if difference.is_Rational:
        return bool(difference != 0)
    try:
        return bool(difference.evalf(5, maxn=EXACT_DIGITS, strict=True) != 0)
    except sympy.core.evalf.PrecisionExhausted:
        return False


def _form(parsed: list) -> str | None:
    """Return the evaluated expression: one spelling per value, so that equal wrong answers vote together."""
    if not parsed or isinstance(parsed[0], str):
        return None
    try:
        form = str(parsed[0].doit())
    except Exception:  # an expression that cannot be printed only loses its grouping
        return None
    return form if len(form) <= MAX_FORM else None


def _set_limit(kind: int, value: int) -> None:
    """Set a soft limit, never above the hard limit of this machine."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _compare_within(answer: str, key: str, seconds: float) -> dict[str, object]:
    _set_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + 1.2 * seconds))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return compare_expressions(answer, key)
    except (OutOfTimeError, RecursionError, MemoryError):
        return UNDECIDED
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = sys.stderr  # what a library prints must not look like an answer
    logging.disable(logging.CRITICAL)
    try:
        compare_expressions("1", "2")  # imports math-verify and sympy
    except Exception as cause:
        print(json.dumps({"error": f"{type(cause).__name__}: {cause}"}), file=answers)
        return
    signal.signal(signal.SIGPROF, _expire)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    if sys.platform == "linux":
        _set_limit(resource.RLIMIT_AS, MEMORY_BYTES)
    minimum, multiple = map(float, sys.argv[1:])
    cpu_limit = max(minimum, multiple * time.process_time())
    print(json.dumps({"cpu_limit": cpu_limit}), file=answers)
    for line in sys.stdin:
        answer, key = json.loads(line)
        print(json.dumps(_compare_within(answer, key, cpu_limit)), file=answers)


if __name__ == "__main__":
    main()
