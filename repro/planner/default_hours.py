"""Hours of every study at each scale with its default settings, stored so that `repro list` plans nothing."""

import tomllib
from pathlib import Path

from repro.recipes.studies import Scale

_FILE = Path(__file__).with_suffix(".toml")


def default_hours() -> dict[str, dict[Scale, float]]:
    """Return each study's hours at each scale on the machine in `scales.REQUIREMENTS`, fully utilised.

    These are the plan's `hours.study_hours` to five digits, written by `nox -s documents` and checked by a test.
    """
    hours: dict[str, dict[Scale, float]] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return hours
