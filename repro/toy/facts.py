"""Facts of the embedded world: operations on states, relations between people. All other modules use these.

Both are fixed random permutations, so a chain of them has exactly one answer, all answers are equally likely over all
starts, and the last link alone reveals nothing about the answer.
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
    """Return the state after each operation; the last is the answer."""
    visited = []
    for name in operations:
        start = _OPERATION[name][start]
        visited.append(start)
    return visited


def people(start: str, relations: tuple[str, ...]) -> list[str]:
    """Return the person after each relation: people("nora", ("boss", "friend")) ends with the friend of nora's boss."""
    visited = []
    for name in relations:
        start = _RELATION[name][start]
        visited.append(start)
    return visited
