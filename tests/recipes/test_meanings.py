"""Every setting has a meaning, a unit, a provenance and a reason."""

import pytest

from repro.recipes.catalog import SETTINGS
from repro.recipes.meanings import meaning_of
from repro.recipes.settings import flatten
from repro.report.sections.settings import describe_setting


@pytest.mark.parametrize("scale", SETTINGS)
def test_every_setting_is_explained(scale):
    for key, value in flatten(SETTINGS[scale]().model_dump(mode="json")).items():
        assert all(meaning_of(key)), key
        line = describe_setting(key, value, scale)
        assert line["provenance"] in ("PAPER", "ASSUMED")
        assert line["why this one"]
