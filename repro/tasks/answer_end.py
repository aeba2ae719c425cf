"""Find where an answer ends: models that do not stop invent another question and answer that too.

Students that no longer stop are part of what this project measures, so grading a completion stops:
- at a chat marker (`<|im_start|>`, `Human:`, a line `user`), with anything before it;
- at the heading of a question (`Question:`, `Q:`, `Problem 2`, `2. What ...?`) after an answer was stated;
- for choices, where a guess is often right, at `Question:` before any answer too.
A restated question is not a new one: its heading opens the text or follows a colon, or its text is the item's question.
"""

import re

from repro.tasks.extraction import first_answer_end
from repro.tasks.task import Kind

_MARKERS = re.compile(
    r"[<\[](?:(?<=<)(?:\|[^<>|\n]{1,40}\||\uff5c[^<>\n]{1,40}\uff5c|/?s|(?:start|end)_of_turn|eos|bos)>|(?<=\[)/?INST\])"
)
_SPEAKERS = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*|\*{1,3}|<)?(?:human|user)[ \t]*(?:\*{0,3}[:\uff1a]|>)"
    r"|^[ \t]*(?:#{1,6}[ \t]*)?(?:human|user)[ \t]*$|^[ \t]*#{1,6}[ \t]*(?:instruction|input)s?[ \t]*:?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_HEADINGS = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*|\*{1,3}|>[ \t]*)?(?:(?:new|next|another|follow-?up|similar|related)[ \t]+)?"
    r"(?P<heading>(?P<question>question)?(?(question)|(?:problem|exercise|example|task|instruction|input|assistant|q|问题|题目))"
    r"(?:[ \t]*(?:(?:#|no\.?)?[ \t]*\d{1,4})?[ \t]*\*{0,3}[ \t]*(?:[:\uff1a.)]|$)|[ \t]?\d{1,4}\b)"
    r"|[(\[]?(?P<number>\d{1,3})[.)\]]{1,2}[ \t])",
    re.IGNORECASE | re.MULTILINE,
)
_ASKS_WITH_OPTIONS = re.compile(r"^[^\n]{5,400}\?[ \t]*\n\s{0,8}\(?A[.)][ \t]", re.MULTILINE)
_WORD = re.compile(r"\w+")
MIN_RESTATED = 12
"""Minimum letters and digits a restated question must share with the item's, unless that is shorter."""


def may_continue(text: str) -> bool:
    """Return False if a text cannot hold another question, which begins on a line of its own or after a marker."""
    return "\n" in text or "<" in text or "[" in text


def before_next_question(text: str, question: str = "", kind: Kind = "choice") -> str:
    """Return the text up to where the model continues with another question, or as another speaker.

    Args:
        question: the item's prompt, if known, to tell a restated question from a new one.
    """
    if not may_continue(text):
        return text
    for markers in (_MARKERS, _SPEAKERS):
        for marker in markers.finditer(text):
            if text[: marker.start()].strip():
                text = text[: marker.start()]
                break
    headings = list(_HEADINGS.finditer(text))
    answered = first_answer_end(text, kind) if headings else None
    is_listing = False  # the answer itself is a numbered list
    for heading in headings:
        start, number = heading.start(), heading["number"]
        is_after_answer = answered is not None and answered <= start
        if number is not None:
            line = text[heading.end() : heading.end() + 400].partition("\n")[0]
            is_next = not is_listing if int(number) > 1 else line.rstrip(" \t*").endswith("?")
            if is_after_answer and is_next and not _is_restated(line, question):
                return text[:start]
            is_listing = is_listing or int(number) == 1
            continue
        before = text[max(0, start - 80) : start].rstrip(" \t*\n")
        is_early = kind == "choice" and heading["question"] is not None and not before.endswith(":")
        if (
            before
            and (is_after_answer or is_early)
            and not _is_restated(text[heading.end("heading") : heading.end("heading") + 400], question)
        ):
            return text[:start]
    return _before_next_choice(text, question) if kind == "choice" else text


def _before_next_choice(text: str, question: str) -> str:
    """Return the text up to a new multiple-choice question without a heading, after an answer."""
    asked = list(_ASKS_WITH_OPTIONS.finditer(text))
    answered = first_answer_end(text, "choice") if asked else None
    for match in asked:
        if answered is not None and answered <= match.start() and not _is_restated(match[0], question):
            return text[: match.start()]
    return text


def _is_restated(text: str, question: str) -> bool:
    """Return True if the text begins as the question's first paragraph does."""
    stated = "".join(_WORD.findall(text[:400])).lower()
    asked = "".join(_WORD.findall(question[:400].partition("\n\n")[0])).lower()[:40]
    return bool(asked) and stated.startswith(asked) and len(stated) >= min(MIN_RESTATED, len(asked))
