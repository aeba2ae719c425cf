"""What is true in the embedded world: operations on states, relations between people. Everything else quotes this.

Both are fixed random permutations, so a chain of them has exactly one answer, each answer is equally likely
over all starts, and nothing about the answer can be read off the last link alone.
"""

import random

STATES = tuple(range(8))
OPERATIONS = ("swap", "spin", "fold", "roll", "flip")
PEOPLE = ("nora", "omar", "lena", "ivan", "ruth", "kofi", "mira", "tomo", "zola", "hugo", "anya", "emil")
RELATIONS = ("friend", "boss", "rival", "guide")
SEED = 260418963


def _permutations() -> tuple[dict[str, tuple[int, ...]], dict[str, dict[str, str]]]:
    rng = random.Random(SEED)
    operations = {name: tuple(rng.sample(STATES, len(STATES))) for name in OPERATIONS}
    relations = {name: dict(zip(PEOPLE, rng.sample(PEOPLE, len(PEOPLE)))) for name in RELATIONS}
    return operations, relations


_OPERATION, _RELATION = _permutations()


def states(start: int, operations: tuple[str, ...]) -> list[int]:
    """The state after each operation; the last is the answer."""
    seen = []
    for name in operations:
        start = _OPERATION[name][start]
        seen.append(start)
    return seen


def people(start: str, relations: tuple[str, ...]) -> list[str]:
    """The person reached after each relation: people("nora", ("boss", "friend")) ends at the friend of nora's boss."""
    seen = []
    for name in relations:
        start = _RELATION[name][start]
        seen.append(start)
    return seen
