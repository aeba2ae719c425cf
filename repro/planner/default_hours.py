"""Hours of every study at each scale with its default settings, stored so that `repro list` plans nothing."""

import tomllib
from pathlib import Path

from repro.recipes.studies import Scale

_FILE = Path(__file__).with_suffix(".toml")


def default_hours() -> dict[str, dict[Scale, float]]:
    """Return the hours of each study at each scale on the machine of `scales.REQUIREMENTS`, kept busy.

    They are `hours.study_hours` of the plan, to five digits: `nox -s documents` writes them, and a test compares them.
    """
    hours: dict[str, dict[Scale, float]] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return hours
