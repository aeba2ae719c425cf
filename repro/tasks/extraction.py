r"""Extraction of the answer from a completion: the last closed box, the last stated letter, the text after `####`.

All patterns are linear in the length of the text: a student in a repetition loop writes tens of thousands of tokens, some
of it nothing but `\boxed{\boxed{\boxed{`.
"""

import re

LETTERS = "ABCDEFGHIJ"

BOX_OPENING = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{")
_BRACE = re.compile(rf"(?P<box>{BOX_OPENING.pattern})|\\.|(?P<open>\{{)|(?P<close>\}})", re.DOTALL)
_HASH_MARK = re.compile(r"####[ \t]*([^\n]{1,200})")
_NEXT_QUESTION = re.compile(r"^[ \t]*(?:#{1,6}[ \t]*|\*\*)?question[ \t]*\d{0,4}[ \t]*:", re.IGNORECASE | re.MULTILINE)

# Quantifiers are bounded so that no two neighbours can compete for a long run of blanks or stars.
_MARKS = r"[\s*_`]{0,12}"
_VERB = r"(?:is|was|would\s+be|should\s+be|must\s+be|has\s+to\s+be|will\s+be)\b"
_SUBJECT = (
    r"\b(?:answer(?:\s+(?:choice|option|letter))?(?:\s+(?:to|for)\s+(?:this|the)(?:\s+\w{1,20})?\s+(?:question|problem))?"
    r"|(?:correct|right|best|final)\s+(?:option|choice))"
)
_FILLER = r"(?:(?:most|likely|probably|definitely|clearly|thus|therefore|option|choice|letter|the)\s{1,4}){0,4}"
_OPENING = r"(?:[\s*_`'\"“‘(\[<{$]|\\\(|\\(?:text|textbf|mathbf|mathrm|boxed)\s?\{){0,12}"
_CLOSING = r"[)\]}*_`'\"”’>$]{0,6}"
# An article ("The answer is A dog") or a pronoun ("Answer: I think") is not a choice. Neither can precede these words.
_AFTER_A = r"(?![ \t]+(?!(?:because|since|as|for|which|and|or|but|is|was|given|due|based|so|while|not)\b)\w)"
_AFTER_I = r"(?![ \t]+(?!(?:because|since|as|is|given|which)\b)\w)"
_WHOLE_WORD = r"(?![\w'’+#]|-\w|\.[A-Za-z]\b)"  # not "Bob", "I'd", "C++", "B-cell", "A.D."
# "B or C", "A/B/C": two answers to a single-choice question count as none.
_ONE_ONLY = rf"(?!{_CLOSING}\s{{0,4}}(?:,|/|&|and\b|or\b)\s{{0,4}}\(?[A-J]\)?\s{{0,4}}(?:[.,;/)\n]|and\b|or\b|$))"
# "The answer is (D) is wrong": a choice that is retracted at once.
_NOT_RETRACTED = rf"(?!{_CLOSING}\s{{1,4}}(?:is|was)\s{{1,4}}(?:not|incorrect|wrong|false)\b)"
_UPPER = rf"(?P<upper>(?:[B-HJ]|A{_AFTER_A}|I{_AFTER_I}){_WHOLE_WORD}{_ONE_ONLY}{_NOT_RETRACTED})"
_LOWER = rf"(?P<lower>[a-j])(?={_CLOSING}\.?[ \t]{{0,8}}(?:\n|$))"  # a small letter must end its line
_STATED = re.compile(
    rf"(?i:{_SUBJECT}){_MARKS}(?:(?i:{_VERB}){_MARKS}[:：]?|[:：=]|(?<=\n)){_OPENING}(?i:{_FILLER}){_OPENING}"
    rf"(?:{_UPPER}|{_LOWER})"
)
_BOXED_LETTER = re.compile(
    r"(?:\\(?:text|textbf|mathbf|mathrm)\s?\{|[\s({$*]){0,6}([A-J])(?:[)}$*\s]{0,6}$|[).:}]{1,3}\s?\S)"
)


def closed_boxes(text: str) -> list[tuple[int, str]]:
    """Return (position, content) of closed, non-empty boxes in order of opening. Escaped braces do not count."""
    stack: list[int | None] = []
    boxes: list[tuple[int, str]] = []
    for match in _BRACE.finditer(text):
        if match["box"]:
            stack.append(match.end())
        elif match["open"]:
            stack.append(None)
        elif match["close"] and stack:
            start = stack.pop()
            if start is not None and (content := text[start : match.start()].strip()):
                boxes.append((start, content))
    return sorted(boxes)


def last_boxed(text: str) -> str | None:
    """Return the content of the last *closed* box. An unclosed box is a truncated answer, hence no answer."""
    boxes = closed_boxes(text)
    return boxes[-1][1] if boxes else None


def last_hash_mark(text: str) -> str | None:
    """Return the text after the last `####` on its line, as gsm8k's solutions end."""
    answers = _HASH_MARK.findall(text)
    return answers[-1].strip() or None if answers else None


def before_next_question(text: str) -> str:
    """Return the text up to where the model continues with another question. A restated question may open the text."""
    for match in _NEXT_QUESTION.finditer(text):
        if text[: match.start()].strip():
            return text[: match.start()]
    return text


def last_choice(text: str) -> str | None:
    r"""Return the letter of the last stated choice: "Answer: B", "the answer is (B)", a boxed letter; not a lone letter.

    Accuracies of released outputs of base models differ by up to 13 points between extraction rules, mostly because a model
    continues with new questions. So only the text before the next `Question:` is read.
    """
    text = before_next_question(text)
    choices = [(match.end(), (match["upper"] or match["lower"]).upper()) for match in _STATED.finditer(text)]
    for position, content in closed_boxes(text):
        if letter := _BOXED_LETTER.match(content):
            choices.append((position, letter[1]))
    return max(choices)[1] if choices else None
