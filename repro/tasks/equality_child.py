"""The child of `equality.py`, a script: reads [answer, key] lines, writes {"same", "form"} lines.

Two limits on processor time guard each question: a timer that raises between byte codes, and the kernel's own
limit, which ends the process inside one long C call (a huge integer power). Memory is limited too.
"""

import json
import logging
import math
import os
import resource
import signal
import sys
from types import FrameType

MEMORY_BYTES = 4 * 2**30
MAX_FORM = 400


class OutOfTimeError(BaseException):
    """Not an Exception: the libraries below swallow those."""


def _expire(signal_number: int, frame: FrameType | None) -> None:
    raise OutOfTimeError


def compare_expressions(answer: str, key: str) -> dict[str, object]:
    """math-verify's verdict, key first: its comparison is not symmetric."""
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig()]
    gold, given = (
        parse(f"${text}$", extraction_config=config, parsing_timeout=None, fallback_mode="first_match")
        for text in (key, answer)
    )
    return {"same": bool(verify(gold, given, timeout_seconds=None)), "form": _form(given)}


def _form(parsed: list) -> str | None:
    """One spelling per value, so that equal wrong answers vote together: the evaluated expression."""
    if not parsed or isinstance(parsed[0], str):
        return None
    try:
        form = str(parsed[0].doit())
    except Exception:  # any failure to print an odd expression only costs its grouping
        return None
    return form if len(form) <= MAX_FORM else None


def _limit(kind: int, value: int) -> None:
    """Set a soft limit, never above the hard one that the machine's owner may have set."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _limited(answer: str, key: str, seconds: float) -> dict[str, object]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + 1.2 * seconds))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return compare_expressions(answer, key)
    except (OutOfTimeError, RecursionError, MemoryError):
        return {"same": False, "form": None}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = sys.stderr  # whatever a library prints must not look like an answer
    logging.disable(logging.CRITICAL)
    try:
        compare_expressions("1", "2")
    except Exception as cause:
        print(json.dumps({"error": f"{type(cause).__name__}: {cause}"}), file=answers)
        return
    signal.signal(signal.SIGPROF, _expire)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        answer, key = json.loads(line)
        print(json.dumps(_limited(answer, key, float(sys.argv[1]))), file=answers)


if __name__ == "__main__":
    main()
