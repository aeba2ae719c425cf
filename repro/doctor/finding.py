"""What the doctor says: one line per check."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One check. about: what was looked at; words: what was seen, and where it is not ok, the mend."""

    verdict: Status
    about: str
    words: str


def good(about: str, words: str) -> Finding:
    return Finding("ok", about, words)


def warn(about: str, words: str) -> Finding:
    return Finding("warn", about, words)


def fail(about: str, words: str) -> Finding:
    return Finding("fail", about, words)
