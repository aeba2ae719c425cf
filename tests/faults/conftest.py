"""Fixtures of the fault injection tests; every test here has the marker `faults`."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_kit import HERE, Forge, check_artifacts, study_arguments


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    forge = Forge(tmp_path_factory.mktemp("forge"))
    yield forge
    forge.server.close()


@pytest.fixture(scope="session")
def undisturbed(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of an undisturbed run. Read only."""
    out = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    code, text = forge.run(study_arguments(out))
    assert code in (0, 1), text
    assert check_artifacts(out) == 17
    (out / "seconds").write_text(str(time.monotonic() - started))
    return out
