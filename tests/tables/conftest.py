"""A small measured Table 2 with known effects, made without any model."""

from collections.abc import Callable

import pytest
from measured_world import build

from repro.tables import MeasuredTable

Make = Callable[..., MeasuredTable]


@pytest.fixture
def make() -> Make:
    """make(...) -> MeasuredTable (see `measured_world.build`)."""
    return build
