r"""Extraction of the answer from a completion: the last closed box, the last stated letter, the text after `####`.

`repro.tasks.answer_end` decides where the completion ends, and `repro.tasks.thoughts` which part of it is a thought.

All patterns run in linear time: a student in a repetition loop writes tens of thousands of tokens, sometimes nothing
but `\boxed{\boxed{\boxed{`.
"""

import itertools
import re
import unicodedata
from typing import NamedTuple

from repro.tasks.task import Kind

LETTERS = "ABCDEFGHIJ"

_BOX = r"\boxed{"
BOX_OPENING = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{")
_BRACE = re.compile(rf"(?P<box>{BOX_OPENING.pattern})|\\.|(?P<open>\{{)|(?P<close>\}})", re.DOTALL)
_HASH_MARK = re.compile(r"####[ \t]*([^\n]{1,200})")

# Quantifiers are bounded so that no two neighbours compete for a long run of blanks or stars.
_MARKS = r"[\s*_`]{0,12}"
_VERB = r"(?:(?:is|was|would\s+be|should\s+be|must\s+be|has\s+to\s+be|will\s+be)\b|是|为)"
_SUBJECT = (
    r"(?:答案|\b(?:ans(?:wer)?(?:\s+(?:choice|option|letter))?(?:\s+(?:to|for)\s+(?:this|the)(?:\s+\w{1,20})?\s+(?:question|problem))?"
    r"|(?:correct|right|best|final)\s+(?:option|choice)))"  # models trained on Chinese fall back into it
)
_FILLER = (
    r"(?:(?:most|likely|probably|definitely|clearly|thus|therefore|option|choice|letter|the|either|both)\s{1,4}){0,4}"
)
_OPENING = r"(?:[\s*_`'\"“‘(\[<{$]|\\\(|\\(?:text|textbf|mathbf|mathrm|boxed)\s?\{){0,12}"
_CLOSING = r"[)\]}*_`'\"”’>$]{0,6}"
# An article ("The answer is A dog") or a pronoun ("Answer: I think") is not a choice. Neither can precede these words.
_AFTER_A = r"(?![ \t]+(?!(?:because|since|as|for|which|and|or|but|is|was|given|due|based|so|while|not)\b)\w)"
_AFTER_I = r"(?![ \t]+(?!(?:because|since|as|is|given|which)\b)\w)"
_WHOLE_WORD = r"(?![^\W_]|_\w|['’+#]|-\w|\.[A-Za-z]\b)"  # not "Bob", "I'd", "C++", "B-cell", "A.D."
# "B or C", "A/B/C", "B, C.": several answers to a single-choice question are none.
_JOIN = r"(?:[,;]\s?(?:and|or)\b(?:\s(?:also|maybe|possibly|perhaps))?|[,;/&+|\\~–—-]|and/or\b|(?:and|or)\b,?(?:\s(?:maybe|possibly|perhaps|less likely),?)?|as well as\b)"
_SECOND = rf"{_CLOSING}\s{{0,4}}{_JOIN}\s{{0,4}}{_OPENING}(?i:(?:option|choice|letter)\s)?"
_ENDS = rf"{_CLOSING}\s{{0,4}}(?:[.,;/)\n]|and\b|or\b|$)"
_SEVERAL = (
    rf"(?P<several>(?:[A-J]{{2,10}}(?![\w'’+#-])|[A-J](?:[ \t][A-J]){{1,9}}[ \t]{{0,4}}\.?(?=\n|$)"
    rf"|[A-J]{_SECOND}[A-J]{_ENDS}|[A-J]{_CLOSING}\s{{0,4}}(?:or\b|/)\s{{0,4}}{_OPENING}(?:[B-HJ]\b|[AI]\b(?!\s\w))))"
)
# "The answer is (D) is wrong": a choice that is retracted at once.
_NOT_RETRACTED = (
    rf"(?!{_CLOSING}(?:\s{{1,4}}(?:and|or)\s{{1,4}}{_OPENING}[A-J]{_CLOSING})?\s{{1,4}}(?:is|are|was|were)\s{{1,4}}"
    r"(?:not|incorrect|wrong|false)\b)"
)
_UPPER = rf"(?P<upper>(?:[B-HJ]|A{_AFTER_A}|I{_AFTER_I}){_WHOLE_WORD}{_NOT_RETRACTED})"
_LOWER = rf"(?P<lower>[a-j])(?={_CLOSING}\.?[ \t]{{0,8}}(?:\n|$))"  # a small letter must end its line
_STATED = re.compile(
    rf"(?i:{_SUBJECT}){_MARKS}(?:(?i:{_VERB}){_MARKS}[:：]?|[:：=]|(?<=\n)){_OPENING}(?i:{_FILLER}){_OPENING}"
    rf"(?:{_SEVERAL}|{_UPPER}|{_LOWER})"
)
_BOXED_LETTER = re.compile(
    r"(?:\\(?:text|textbf|mathbf|mathrm|mathsf|textrm|boldsymbol)\s?\{|\\(?:bf|rm)\s|[\s({$*\"'`]){0,6}"
    r"(?:(?i:option|choice|letter|answer)[\s:]{1,3}\(?)?([A-J])(?:[)}$*\s.\"'`]{0,6}$|[).:}]{1,3}\s?\S)"
)
_BOXED_SMALL = re.compile(r"[({\s]{0,4}([a-j])[)}\s.]{0,4}")
_BOXED_SEVERAL = re.compile(
    rf"[({{\s$*]{{0,6}}[A-J]{{1,10}}(?:{_CLOSING}\s{{0,4}}(?:{_JOIN}|\s)\s{{0,4}}[({{$*]{{0,4}}[A-J]){{0,9}}{_CLOSING}"
)
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathbf|mathrm|mathsf|textrm|boldsymbol)\s?\{|\\[,; ]")
_BETWEEN_BOXES = re.compile(rf"[\s$*]{{0,6}}(?:\\text\s?\{{\s?)?{_JOIN}(?:\s?\}})?(?:\\ |[\s$*]){{0,6}}")
# A letter that is the completion, or its last line if decorated: "(B)", "**B**".
_LONE = re.compile(r"[\s*_`(\[$]{0,8}([A-J])[\s*_`)\].$]{0,8}")
_DECORATED = re.compile(r"\([A-J]\)|\*[A-J]\b|\*\(|\[[A-J]\]")
_LETTER = re.compile("[A-J]")
_ENDS_IN_BOX = re.compile(r"[^\n<\[{\\\u25c1]*\\boxed\{([0-9]{1,18})\}")
_ENDS_IN_LETTER = re.compile(r"(?:[\t !-;=-Z\\-z|}~]*[ .])?Answer: ([A-J])")
_OPTION_LINE = re.compile(rf"{_CLOSING}[.):][^\n]{{0,300}}\n\s{{0,8}}[(*]{{0,3}}([A-J])[.):]")
_OPTION = re.compile(r"(?<![A-Za-z\\])([A-J])[.):]{1,2}\s?(?=\S)(?![A-Z]\.)")
SEVERAL = ""
"""Used in place of a letter: several were stated, so none is the answer."""


class _Box(NamedTuple):
    """A closed, non-empty box: positions of its command, of its content and of its closing brace."""

    command: int
    start: int
    end: int
    content: str


def _boxes(text: str) -> list[_Box]:
    """Return the closed boxes in order of opening. Escaped braces do not count."""
    braces = text.count("{")
    if not braces:
        return []
    boxes = _plain_boxes(text) if braces == text.count(_BOX) else None
    return _nested_boxes(text) if boxes is None else boxes


def _plain_boxes(text: str) -> list[_Box] | None:
    """Fast path (10x): return the boxes of a text without other opening braces; None if a parser is needed.

    Nearly every answer of a small model is such a box.
    """
    boxes = []
    command = text.find(_BOX)
    while command >= 0:
        start = command + len(_BOX)
        end, following = text.find("}", start), text.find(_BOX, start)
        if end < 0:
            break
        content = text[start:end]
        if "\\" in content or text[command - 1 : command] == "\\":
            return None
        if content := content.strip():
            boxes.append(_Box(command, start, end, content))
        command = following
    return boxes


def _nested_boxes(text: str) -> list[_Box]:
    first = BOX_OPENING.search(text)
    if first is None:
        return []
    start = len(text[: first.start()].rstrip("\\"))  # so that a backslash before it counts as escaping it
    stack: list[tuple[int, int] | None] = []
    boxes: list[_Box] = []
    for match in _BRACE.finditer(text, start):
        bracket = match.lastgroup
        if bracket == "box":
            stack.append(match.span())
        elif bracket == "open":
            stack.append(None)
        elif bracket == "close" and stack:
            opened = stack.pop()
            if opened is not None and (content := text[opened[1] : match.start()].strip()):
                boxes.append(_Box(*opened, match.start(), content))
    return sorted(boxes, key=lambda box: box.command)


def closed_boxes(text: str) -> list[tuple[int, str]]:
    """Return (position, content) of closed, non-empty boxes in order of opening."""
    return [(box.start, box.content) for box in _boxes(text)]


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last *closed* box. An unclosed box is a truncated answer, hence no answer.

    Boxes joined by a comma, "and" or "or" are one answer in parts: `\boxed{2} and \boxed{3}` is `2, 3`.
    """
    boxes = _boxes(text)
    parts = _last_joined(boxes, text) if len(boxes) > 1 else boxes
    return ", ".join(box.content for box in parts) if parts else None


def _last_joined(boxes: list[_Box], text: str) -> list[_Box]:
    """Return the last box, preceded by those joined to it."""
    parts = boxes[-1:]
    for box in reversed(boxes[:-1]):
        between = text[box.end + 1 : parts[0].command]
        if box.end > parts[0].command or len(between) > 40 or not _BETWEEN_BOXES.fullmatch(between):
            break
        parts.insert(0, box)
    return parts


def plain_answer(kind: Kind, text: str) -> str | None:
    r"""Return the answer of a single line that ends as prompted, in its only box or in `Answer: B`; else None.

    Nearly every completion of a small model is such a line. The rules of `repro.tasks.grading` give the same answer,
    several times slower.
    """
    match = (_ENDS_IN_LETTER if kind == "choice" else _ENDS_IN_BOX).fullmatch(text)
    return match[1] if match else None


def first_answer_end(text: str, kind: Kind) -> int | None:
    """Return the position after the first answer that a text states: a closed box, or the letter of a choice."""
    ends = [box.end for box in _boxes(text)]
    if kind == "choice" and (stated := _STATED.search(text)):
        ends.append(stated.end())
    return min(ends, default=None)


def last_hash_mark(text: str) -> str | None:
    """Return the text after the last `####` on its line, as gsm8k's solutions end."""
    answers = _HASH_MARK.findall(text)
    return answers[-1].strip() or None if answers else None


def last_choice(text: str) -> str | None:
    r"""Return the letter of the last stated choice: "Answer: B", "the answer is (B)", a boxed letter.

    A letter alone counts if it is the completion, or decorated ("(B)", "**B**") and its last line. Several letters at once
    ("A or B") are no answer, also after an earlier single one. Accuracies of released outputs of base models differ by up
    to 13 points between extraction rules.
    """
    if not text.isascii():  # letters of other widths and fonts
        text = unicodedata.normalize("NFKC", text)
    first = _first_subject(text)
    choices = [(match.end(), _stated_letter(match, text)) for match in _STATED.finditer(text, first)]
    if boxes := _boxes(text):
        choices += _boxed_choices(boxes, text)
    if not choices:
        return _lone_letter(text)
    return max(choices)[1] or None


def _boxed_choices(boxes: list[_Box], text: str) -> list[tuple[int, str]]:
    """Return position and letter of each box that holds one, and `SEVERAL` if the last ones are joined and differ."""
    choices = [(box.start, letter) for box in boxes if (letter := _boxed_letter(box.content)) is not None]
    joined = _last_joined(boxes, text)
    if len({letter for box in joined if (letter := _boxed_letter(box.content))}) > 1:
        choices.append((joined[-1].end, SEVERAL))
    return choices


def _first_subject(text: str) -> int:
    """Return where `_STATED` can match first; the pattern itself takes ten times as long to find it."""
    if not text.isascii():
        return 0
    lowered = text.lower()
    if "option" in lowered or "choice" in lowered:
        return 0
    return position if (position := lowered.find("ans")) >= 0 else len(text)


def _stated_letter(match: re.Match[str], text: str) -> str:
    several, upper, lower = match.group("several", "upper", "lower")
    if several:
        letters = set(_LETTER.findall(several))
        return letters.pop() if len(letters) == 1 else SEVERAL
    if upper and (line := _OPTION_LINE.match(text, match.end())) and line[1] == _next_letter(upper):
        return SEVERAL  # the options repeated, not one of them
    return str(upper or lower.upper())


def _next_letter(letter: str) -> str:
    return chr(ord(letter) + 1)


def _boxed_letter(content: str) -> str | None:
    """Return the letter in a box, `SEVERAL` for more than one, None if it holds something else."""
    if len(content) == 1:
        return content.upper() if content in f"{LETTERS}{LETTERS.lower()}" else None
    plain = _TEXT_COMMAND.sub("{", content)
    if _BOXED_SEVERAL.fullmatch(plain) and len(set(_LETTER.findall(plain))) > 1:
        return SEVERAL
    listed = _OPTION.findall(plain)
    if any(second == _next_letter(first) for first, second in itertools.pairwise(listed)):
        return SEVERAL
    if letter := _BOXED_LETTER.match(content):
        return letter[1]
    small = _BOXED_SMALL.fullmatch(plain)
    return small[1].upper() if small else None


def _lone_letter(text: str) -> str | None:
    """Return the letter that is the whole completion, or its decorated last line after a line that is not a letter."""
    lines = [line for line in text[-2000:].splitlines() if line.strip()][-2:]
    letter = _LONE.fullmatch(lines[-1]) if lines else None
    if letter is None or (len(lines) == 2 and (_LONE.fullmatch(lines[0]) or not _DECORATED.search(lines[-1]))):
        return None
    return letter[1]
