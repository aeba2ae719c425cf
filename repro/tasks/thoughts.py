"""Thoughts of reasoning models: text between `<think>` and `</think>`, which is no answer.

The rule, recorded as `THOUGHTS`: thoughts are never graded. They state no answer, and neither the reward model nor a
judge reads them. A completion that ends within a thought has no answer at all. Some chat templates write the opening
tag into the prompt, so a completion may hold only the closing one; if it holds none, `opens_in_thought` says so.
"""

import re

THOUGHTS = "removed: no answer, not shown to reward models and judges; an unfinished one leaves no answer"
"""The rule in a stage's record."""

_TAG = re.compile(
    r"<\s?(?P<closes>/?)\s?(?:seed:)?think(?:ing)?\s?>|\[(?P<closes_bracket>/?)THINK\]"
    r"|\u25c1(?P<closes_triangle>/?)think\u25b7",  # Kimi's tags
    re.IGNORECASE,
)


def visible_text(text: str, *, opens_in_thought: bool = False) -> str:
    """Return a completion without its thoughts; empty if it ends within one.

    Args:
        opens_in_thought: the prompt holds the opening tag.
    """
    if not opens_in_thought and "<" not in text and "[" not in text and "\u25c1" not in text:
        return text
    tags = list(_TAG.finditer(text))
    if not tags:
        return "" if opens_in_thought else text
    last = tags[-1]
    if not _closes(last):
        return ""
    parts: list[str] = []
    position, inside = 0, opens_in_thought
    for tag in tags:
        if _closes(tag):
            if not inside:  # the opening tag is in the prompt: everything so far was a thought
                parts = []
            inside = False
        elif not inside:
            parts.append(text[position : tag.start()])
            inside = True
        position = tag.end()
    return "".join([*parts, text[last.end() :]])


def split_tags(text: str) -> tuple[str, str]:
    """Return a completion without thought tags (keeping the text), and its last closing tag, empty if none."""
    closing = [tag[0] for tag in _TAG.finditer(text) if _closes(tag)]
    return _TAG.sub("", text), closing[-1] if closing else ""


def _closes(tag: re.Match[str]) -> bool:
    return bool(tag["closes"] or tag["closes_bracket"] or tag["closes_triangle"])


def has_unfinished_thought(text: str, *, opens_in_thought: bool = False) -> bool:
    """Return True if a completion ends within a thought."""
    tags = list(_TAG.finditer(text))
    return not _closes(tags[-1]) if tags else opens_in_thought


def prompt_opens_thought(prompt: str) -> bool:
    """Return True if a rendered prompt ends within a thought, so that the completion continues it."""
    tags = list(_TAG.finditer(prompt))
    return bool(tags) and not _closes(tags[-1]) and not prompt[tags[-1].end() :].strip()
