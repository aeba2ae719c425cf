"""The study `guards`: every guard against every attack, with the student without a teacher as the zero line."""

from collections.abc import Callable, Iterator

from repro.attacks.base import ATTACKS, Attack
from repro.attacks.thief import Thief
from repro.errors import InputError
from repro.guards.base import GUARDS, Guard, shows_enough
from repro.recipes.guarded import check_guard, served_answers, served_model
from repro.recipes.labels import moved, read_by_target, teacher_under, under
from repro.recipes.settings import MatrixSettings
from repro.recipes.shared_stages import Pair, base_model
from repro.recipes.study import Row
from repro.stages import ModelInput, ScoreAnswers

NO_TEACHER = "no-teacher"


def guards_of(settings: MatrixSettings) -> list[Guard]:
    """Return the guards of the settings.

    Raises:
        InputError: an unknown or duplicate guard.
    """
    guards: list[Guard] = [GUARDS.parse(text) for text in settings.guards]
    _check_once([guard.label for guard in guards], "guards")
    return guards


def attacks_of(settings: MatrixSettings) -> list[Attack]:
    """Return the attacks of the settings, without the zero line, which is always included.

    Raises:
        InputError: an unknown or duplicate attack, or one that needs more than the interface shows.
    """
    attacks: list[Attack] = [ATTACKS.parse(text) for text in settings.attacks]
    _check_once([attack.label for attack in attacks], "attacks")
    for attack in attacks:
        if not shows_enough(settings.interface, attack.needs):
            raise InputError(
                f"attack '{attack.label}' needs {attack.needs}, but matrix.interface={settings.interface} does not show it: leave"
                f" the attack out (--set matrix.attacks=...), or set matrix.interface={attack.needs}"
            )
    attacks = [attack for attack in attacks if attack.name != NO_TEACHER]
    if not attacks:
        raise InputError(
            f"matrix.attacks={NO_TEACHER}: this is only the zero line of the matrix. Add an attack to compare with it"
        )
    return attacks


def _check_once(labels: list[str], what: str) -> None:
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise InputError(f"matrix.{what}: '{twice}' is listed twice. List it once")


def is_possible(attack: Attack, guard: Guard) -> bool:
    """Return True if the guard shows what the attack needs."""
    return shows_enough(guard.shows, attack.needs)


def rows(pair: Pair) -> Iterator[Row]:
    """Yield the zero line, each guarded teacher with its costs, each possible cell with its distance from the start."""
    settings = pair.settings.matrix
    yield from matrix_rows(pair, guards_of(settings), attacks_of(settings), is_possible)


def matrix_rows(
    pair: Pair, guards: list[Guard], attacks: list[Attack], has_cell: Callable[[Attack, Guard], bool]
) -> Iterator[Row]:
    """Yield the rows of these guards and attacks. has_cell: whether an attack is run against a guard."""
    for guard in guards:
        check_guard(pair, guard)
    yield pair.row("Student", pair.evaluate(pair.student))
    zero = ATTACKS.parse(NO_TEACHER)
    yield from _student_rows(pair, NO_TEACHER, zero.student(Thief(pair, guards[0])))
    for guard in guards:
        yield from _teacher_rows(pair, guard)
    for guard in guards:
        thief = Thief(pair, guard)
        for attack in attacks:
            if has_cell(attack, guard):
                label = under(attack.label, guard.label)
                yield from _student_rows(pair, label, attack.student(thief), guard.label)


def _student_rows(pair: Pair, label: str, model: ModelInput, guard: str | None = None) -> Iterator[Row]:
    answers = pair.evaluate(model)
    yield pair.row(label, answers, guard=guard)
    n = pair.settings.matrix.scored_completions
    yield pair.row(moved(label), ScoreAnswers(answers=answers, model=pair.student, per_item=n, seed=pair.seed))


def _teacher_rows(pair: Pair, guard: Guard) -> Iterator[Row]:
    label, n = teacher_under(guard.label), pair.settings.matrix.scored_completions
    answers = served_answers(pair, guard)
    target = base_model(pair.models.target)
    yield pair.row(label, answers, guard=guard.label)
    yield pair.row(read_by_target(label), ScoreAnswers(answers=answers, model=target, per_item=n, seed=pair.seed))
    if answers.kind == "grade" or served_model(pair, guard) != pair.teacher:
        scored = ScoreAnswers(answers=answers, model=pair.teacher, per_item=n, seed=pair.seed)
        yield pair.row(moved(label), scored)
