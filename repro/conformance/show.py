"""Outcomes on the terminal and as JSON."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from repro.conformance.outcome import Outcome
from repro.conformance.suite import Case, cases
from repro.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"holds": "green", "fails": "bold red", "not applicable": "dim"}


def select(names: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases of these names; all for no name.

    Raises:
        InputError: there is no such case.
    """
    known = {case.name: case for case in cases()}
    for name in names:
        if name not in known:
            raise InputError(f"--case {name}: choose from {', '.join(known)}")
    return tuple(known[name] for name in names) or cases()


def print_outcomes(name: str, outcomes: Sequence[Outcome], console: "Console") -> None:
    """Print a line per case, the details of failures below them, and the counts."""
    width = max(len(outcome.case.name) for outcome in outcomes)
    for outcome in outcomes:
        line = Text(f"{outcome.status:<14}  ", style=STYLES[outcome.status])
        line.append(f"{outcome.case.name:<{width}}  ", style="default").append(outcome.case.title, style="dim")
        console.print(line, soft_wrap=True)
        if outcome.status == "fails":
            console.print(f"{'':16}{outcome.detail}", highlight=False, markup=False, soft_wrap=True)
            threads = ", ".join(outcome.case.threads)
            console.print(f"{'':16}threads: {threads}", style="dim", highlight=False, markup=False, soft_wrap=True)
    counts = Counter(outcome.status for outcome in outcomes)
    console.print(
        f"\n{name}: {counts['holds']} hold, {counts['fails']} fail, {counts['not applicable']} not applicable",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def print_counts(name: str, result: dict[str, Any], console: "Console") -> None:
    """Print a library's counts and the names of the cases that it fails."""
    statuses = Counter(status for status, _ in result["outcomes"].values())
    failed = ", ".join(case for case, (status, _) in result["outcomes"].items() if status == "fails")
    console.print(
        f"{name} ({result['package']} {result['version']}): {statuses['holds']} hold, {statuses['fails']} fail, "
        f"{statuses['not applicable']} not applicable{': ' + failed if failed else ''}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def as_content(name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the outcomes as JSON values."""
    counts = Counter(outcome.status for outcome in outcomes)
    return {
        "loss": name,
        "counts": {status: counts[status] for status in STYLES},  # type: ignore[index]
        "cases": [
            {
                "name": outcome.case.name,
                "title": outcome.case.title,
                "status": outcome.status,
                "detail": outcome.detail,
                "threads": list(outcome.case.threads),
            }
            for outcome in outcomes
        ],
    }
