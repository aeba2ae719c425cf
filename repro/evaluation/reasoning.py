"""Whether a completion reasons before it answers; accuracy alone hides that a model has switched to bare answers."""

import re

from repro.tasks.extraction import closed_boxes

FEWEST_WORDS = 2
"""ASSUMED: fewest words before the answer that count as reasoning. A bare answer has none, "So 6 is" has one besides
the phrase that announces it; the toy models' shortest reasoning has two."""

_WORD = re.compile(r"\w+")
_ANNOUNCEMENT = re.compile(
    r"(?:\b(?:so|thus|therefore|hence)\b[\s,]{0,4})?(?:\bthe\s{1,4})?(?:\b(?:final|correct)\s{1,4})?"
    r"\banswer\b(?:\s{1,4}is\b)?[\s:*$(]{0,8}(?:[A-J]\b[\s).*$]{0,8})?$",
    re.IGNORECASE,
)


def has_reasoning(text: str) -> bool:
    r"""Return True if words come before the answer of a completion: before its last \boxed{}, or before "Answer: B".

    A completion without an answer counts as reasoning if it has any words. A thought (`<think>`) is reasoning too.
    """
    boxes = closed_boxes(text)
    before = text[: boxes[-1][0]].rpartition("\\")[0] if boxes else text  # up to the command of the last box
    words = _WORD.findall(_ANNOUNCEMENT.sub("", before.rstrip(" .*$\n")))
    return len(words) >= FEWEST_WORDS
