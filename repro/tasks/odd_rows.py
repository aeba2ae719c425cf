"""Unusable rows: an error in the user's file; skipped and counted in a hub data set.

Two rules, each with a limit above which a data set of the hub is refused as well:
- a row that cannot be read (a field is missing, empty, or holds half a character; an id is repeated): up to 0.1 %;
- a question with two keys of different value: neither is known to be right, so the question is dropped; up to 1 % of
  the rows.
"""

from collections import Counter

from repro.errors import InputError
from repro.tasks.rows import Row
from repro.tasks.task import Kind

MOST_UNREADABLE = 0.001
"""ASSUMED: a few odd rows among 215,000 say nothing about the rest; one in a thousand means a different layout."""
MOST_CONTRADICTED = 0.01
"""ASSUMED: data sets that were joined from several repeat questions, some with a wrong key."""


class TwoKeysError(InputError):
    """A row repeats an earlier row's question with a different key."""

    def __init__(self, row: Row, first: str | None, second: str | None) -> None:
        super().__init__(
            f"{row.source}, row {row.number}: repeats the question of an earlier row with another key"
            f" ({second!r} instead of {first!r}). Remove one of the two rows."
        )


def is_same_key(kind: Kind, first: str | None, second: str | None) -> bool:
    """True if two keys of one question are equal, for numbers by their value."""
    if first == second or first is None or second is None or kind != "numeric":
        return first == second
    from repro.tasks.grading import grade  # starts a computer algebra system, which hardly any data set needs

    return grade(kind, f"\\boxed{{{first}}}", second).correct


class OddRows:
    """The odd rows of one set of rows.

    Args:
        source, rows: where they are from, and how many there are.
        may_skip: False if each is an error.
    """

    def __init__(self, source: str, rows: int, *, may_skip: bool) -> None:
        self._source, self._rows, self._may_skip = source, rows, may_skip
        self._first: dict[str, InputError] = {}
        self.counts: Counter[str] = Counter()

    def add(self, error: InputError) -> None:
        """Count a row that cannot be used.

        Raises:
            InputError: it may not be skipped.
        """
        if not self._may_skip:
            raise error
        reason = "two keys" if isinstance(error, TwoKeysError) else "unreadable"
        self._first.setdefault(reason, error)
        self.counts[reason] += 1

    def check(self) -> None:
        """Refuse the set of rows if too many were skipped.

        Raises:
            InputError: with the first of them.
        """
        for reason, limit in (("unreadable", MOST_UNREADABLE), ("two keys", MOST_CONTRADICTED)):
            if self.counts[reason] > limit * self._rows:
                raise InputError(
                    f"{self._source}: {self.counts[reason]} of {self._rows} rows cannot be used, more than {limit:.1%}. The"
                    f" first: {self._first[reason]}"
                )
