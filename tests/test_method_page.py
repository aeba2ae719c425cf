"""docs/method.md names every claim and equation, and code that exists."""

import importlib
import re
from pathlib import Path

import pytest

from repro.printed.load import load_claims
from repro.recipes.studies import STUDIES

PAGE = (Path(__file__).parents[1] / "docs" / "method.md").read_text(encoding="utf-8")
CLAIMS = {claim.id for study in STUDIES for claim in load_claims(study)}
NAMES = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", PAGE))


def test_every_claim_is_on_the_page_and_no_other() -> None:
    assert len(CLAIMS) > 70
    assert set() == CLAIMS - NAMES
    assert set() == NAMES - CLAIMS


def test_every_equation_has_a_row() -> None:
    rows = re.findall(r"^\| ((?:\d+(?:[–, ]+)?)+) \|", PAGE, re.MULTILINE)
    numbers: set[int] = set()
    for row in rows:
        for part in row.split(", "):
            first, _, last = part.partition("–")
            numbers |= set(range(int(first), int(last or first) + 1))
    assert numbers == set(range(1, 17))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(repro(?:\.\w+)+)`", PAGE))))
def test_named_code_exists(path: str) -> None:
    module, _, name = path.rpartition(".")
    try:
        assert hasattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        pytest.fail(f"{module} does not exist")
    except AssertionError:
        importlib.import_module(path)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|benchmarks|repro|paper_tables)/[\w./]+)`", PAGE))))
def test_named_files_exist(path: str) -> None:
    assert (Path(__file__).parents[1] / path).exists()
