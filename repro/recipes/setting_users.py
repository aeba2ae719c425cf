"""Settings that only some studies read: refused for the others, where they would only change the folder's name."""

from collections.abc import Iterable

from repro.errors import InputError
from repro.recipes.study import Study

USERS: dict[str, tuple[str, ...]] = {
    "matrix": ("guards", "leak"),
    "matrix.own_completions": ("guards", "leak", "table2", "table5"),
    "etas": ("eta-sweep",),
    "losses": ("losses",),
    "prefixes": ("figure4",),
    "judge": ("failure-modes",),
    "diagnosis": ("table1", "table4", "figure2", "eta-sweep", "losses"),
    "source_tasks": ("table3", "table7"),
    "more_controls": ("table2", "table5"),
}
"""Setting, or group of settings, to the studies that read it; a setting that is not here is read by all, or by most."""

_WITH_MORE_CONTROLS = {"matrix.own_completions": ("table2", "table5")}
"""Setting to the studies that read it for the rows that more_controls adds, and for nothing else."""


def check_used(study: Study) -> None:
    """Refuse an assignment that the study does not read. A study with plug-in rows may read any.

    Raises:
        InputError: names the setting, the study, and the studies that read it.
    """
    if study.settings.get("rows"):
        return
    for text in study.assignments:
        key = text.partition("=")[0].strip()
        users = users_of(key)
        if users and study.name not in users:
            raise InputError(
                f"--set {text}: {study.name} does not use this setting, so it would only rename the result's folder. Leave it out"
                f" (studies that use it: {_listed(users)})."
            )
        if study.name in _WITH_MORE_CONTROLS.get(key, ()) and not study.settings["more_controls"]:
            raise InputError(
                f"--set {text}: {study.name} uses it in its further controls only: add --set more_controls=yes."
            )


def users_of(key: str) -> tuple[str, ...]:
    """Return the studies that read a setting, by dotted name; empty if it is not study-specific."""
    return USERS.get(key) or USERS.get(key.partition(".")[0], ())


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
