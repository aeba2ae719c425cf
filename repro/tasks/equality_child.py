"""Script of the grading child of `equality.py`: reads [answer, key] lines, writes {"is_equal", "form"} lines.

Two limits on processor time guard each question: a timer that raises between byte codes, and the kernel's own limit,
which ends the process inside one long C call (a huge integer power). Memory is limited too.

Arguments: the minimum of the limit in seconds, and the limit in multiples of this process's start-up.
"""

import json
import logging
import math
import os
import resource
import signal
import sys
import time
from types import FrameType

MEMORY_BYTES = 4 * 2**30
MAX_FORM = 400
UNDECIDED: dict[str, object] = {"is_equal": None, "form": None}

WARM_UP = [
    ("1", "2"),
    (r"(x+1)^2", r"x^2+2x+1"),
    (r"\frac{\sqrt{3}-1}{2}", r"\frac{1}{1+\sqrt{3}}"),
    (r"\{1,2,3\}", r"\{3,2,1\}"),
    (r"[0,1)\cup(2,3]", r"[0,1)\cup(2,3]"),
    (r"x=3", "3"),
    (r"x>3", r"(3,\infty)"),
    (r"y=2x+1", r"2x-y+1=0"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
    (r"\frac{\sin(2x)}{1+\cos(2x)}", r"\tan x"),
    (r"\log_2 8", "3"),
    (r"3+4i", "4i+3"),
    (r"e^{i\pi}", "-1"),
    (r"50\%", "0.5"),
    (r"\binom{5}{2}", "5!"),
    (r"|x-3|", "|3-x|"),
    (r"\text{even}", "even"),
    (r"\sum_{k=1}^{n}k", r"\frac{n(n+1)}{2}"),
    (r"\int_0^1 x dx", r"\frac12"),
]
"""One comparison of each common kind. The first of a kind costs up to twenty times as much as later ones."""


class OutOfTimeError(BaseException):
    """Not an Exception: the libraries below swallow those."""


def _expire(signal_number: int, frame: FrameType | None) -> None:
    raise OutOfTimeError


def compare_expressions(answer: str, key: str) -> dict[str, object]:
    """Return the verdict of math-verify. The key comes first, since its comparison is not symmetric."""
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig()]
    gold, parsed = (
        parse(f"${text}$", extraction_config=config, parsing_timeout=None, fallback_mode="first_match")
        for text in (key, answer)
    )
    return {"is_equal": bool(verify(gold, parsed, timeout_seconds=None)), "form": _form(parsed)}


def _form(parsed: list) -> str | None:
    """Return the evaluated expression: one spelling per value, so that equal wrong answers vote together."""
    if not parsed or isinstance(parsed[0], str):
        return None
    try:
        form = str(parsed[0].doit())
    except Exception:  # an odd expression that cannot be printed only loses its grouping
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
        for answer, key in WARM_UP:
            compare_expressions(answer, key)
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
