"""Preference pairs over descriptions: sentences that are requested, true and not repeated are good."""

import random
from collections.abc import Iterator

from repro.toy import facts
from repro.toy.pool import questions
from repro.toy.questions import Describe, Style

OPEN_TASKS = ("toy-dolly", "toy-vicuna")


def score_description(question: Describe, text: str) -> float:
    """Score a description in 0..1.

    The number of requested facts stated truly, minus the sentences that are false, not requested or repeated, as a share of
    the requested facts.
    """
    sentences = [f"{sentence.strip()}." for sentence in text.split(".") if sentence.strip()]
    if sentences and sentences[0].startswith("think "):  # the links of a worked completion are not part of the answer
        sentences[0] = " ".join(sentences[0].split()[-3:])
    right = {sentence for sentence in sentences if sentence in question.sentences}
    return max(0.0, (len(right) - (len(sentences) - len(right)))) / len(question.sentences)


def _corrupt(question: Describe, rng: random.Random) -> str:
    """Return the right completion with zero to three faults."""
    style: Style = rng.choice(["worked", "direct"])
    text = question.completion(style)
    opening = text.removesuffix(" ".join(question.sentences))
    sentences = list(question.sentences)
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        match rng.choice(["false", "false", "drop", "repeat", "unasked"]):
            case "false" if sentences:
                index = rng.randrange(len(sentences))
                head = sentences[index].split(" is ")[0]
                sentences[index] = f"{head} is {rng.choice(facts.PEOPLE)}."
            case "drop" if sentences:
                sentences.pop()
            case "repeat" if sentences:
                sentences.append(rng.choice(sentences))
            case _:
                sentences.append(f"{rng.choice(facts.RELATIONS)} is {rng.choice(facts.PEOPLE)}.")
    return (opening + " ".join(sentences)).strip()


def preference_pairs(seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield endless (prompt, better, worse) over training questions of the open tasks."""
    rng = random.Random(seed)
    pool = [row for name in OPEN_TASKS for row in questions(name, "train") if isinstance(row, Describe)]
    while True:
        question = rng.choice(pool)
        first, second = _corrupt(question, rng), _corrupt(question, rng)
        difference = score_description(question, first) - score_description(question, second)
        if difference > 0:
            yield question.prompt, first, second
        elif difference < 0:
            yield question.prompt, second, first
