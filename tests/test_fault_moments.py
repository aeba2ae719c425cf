"""The faults are injected into functions that exist: the tests that inject them run rarely."""

import importlib
from operator import attrgetter

import pytest
from faults_kit import MOMENTS


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_function_of_a_moment_exists(moment):
    module, _, name = MOMENTS[moment].partition(":")
    assert callable(attrgetter(name)(importlib.import_module(module)))
