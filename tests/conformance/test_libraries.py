"""docs/conformance.md says what the installed losses do today, and this project's own losses fail nothing."""

import functools
from pathlib import Path

import pytest

from repro.conformance import Outcome, run_cases
from repro.conformance.document import read_measured, render, write_document
from repro.conformance.libraries import LIBRARIES

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
STORED = read_measured(PAGE)
INSTALLED = {library.name: library for library in LIBRARIES if library.reason_missing() is None}


@functools.cache
def outcomes_of(name: str) -> list[Outcome]:
    return list(run_cases(INSTALLED[name].load()))


def test_the_page_is_written_from_its_outcomes() -> None:
    assert PAGE.read_text() == render(STORED)
    assert set(STORED) == {library.name for library in LIBRARIES}


@pytest.mark.parametrize("name", INSTALLED)
def test_stored_outcomes_are_those_of_the_installed_version(name: str) -> None:
    library = INSTALLED[name]
    stored = STORED[name]
    if stored["version"] != library.version:
        pytest.skip(f"the page is of {library.package} {stored['version']}, installed is {library.version}")
    outcomes = {outcome.case.name: outcome.status for outcome in outcomes_of(name)}
    assert outcomes == {case: status for case, (status, _) in stored["outcomes"].items()}


@pytest.mark.parametrize("name", [name for name in INSTALLED if name.startswith("repro-")])
def test_losses_of_this_project_fail_nothing(name: str) -> None:
    failed = {outcome.case.name: outcome.detail for outcome in outcomes_of(name) if outcome.status == "fails"}
    assert failed == {}


def test_a_library_that_is_not_installed_keeps_its_outcomes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    first, second = LIBRARIES[0].name, LIBRARIES[1].name
    write_document(page, {first: STORED[first]})
    write_document(page, {second: STORED[second]})
    assert list(read_measured(page)) == [first, second]
    assert "not run" in page.read_text()
