import pytest

from repro.recipes.catalog import settings_of
from repro.recipes.shared_stages import Pair


@pytest.fixture(scope="package")
def pair():
    settings = settings_of("toy")
    return Pair("qwen3", settings.families["qwen3"], settings, 0)
