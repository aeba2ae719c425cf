"""Findings of the doctor: one line per check."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One check. subject: what was checked; message: what was found and, unless ok, the fix."""

    status: Status
    subject: str
    message: str


def good(subject: str, message: str) -> Finding:
    return Finding("ok", subject, message)


def warn(subject: str, message: str) -> Finding:
    return Finding("warn", subject, message)


def fail(subject: str, message: str) -> Finding:
    return Finding("fail", subject, message)
