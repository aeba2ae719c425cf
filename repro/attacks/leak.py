"""The study `leak`: what a teacher gives away on each rung of what it shows, and how guards change that.

The cells are those of the study `guards`, except that attacks that read text run only against guards that show text.
"""

from collections.abc import Iterator

from repro.attacks.base import RUNGS, Attack, shows_rung
from repro.attacks.matrix import attacks_of, guards_of, matrix_rows
from repro.guards.base import Guard
from repro.recipes.shared_stages import Pair
from repro.recipes.study import Row


def is_open(attack: Attack, guard: Guard) -> bool:
    """Return True if the guard shows what the attack reads."""
    return shows_rung(guard.shows, attack.rung)


def ladder_of(attacks: list[Attack]) -> list[Attack]:
    """Return the attacks from the lowest rung to the highest; within a rung, in their given order."""
    return sorted(attacks, key=lambda attack: RUNGS.index(attack.rung))


def rows(pair: Pair) -> Iterator[Row]:
    """Yield the zero line, the guarded teachers, and a student per guard and attack on the rungs the guard shows."""
    settings = pair.settings.matrix
    yield from matrix_rows(pair, guards_of(settings), ladder_of(attacks_of(settings)), is_open)
