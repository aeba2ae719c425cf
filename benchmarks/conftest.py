"""Fixtures of the stored result that the study tests read: `repro run` made it, --out and --scale name it."""

import functools
from pathlib import Path

import pytest

from repro.report.reload import judge_again
from repro.report.result import read_result


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--out", default="results", help="folder that `repro run` wrote to")
    parser.addoption("--scale", default="toy", help="scale of the result: toy, small or paper")
    parser.addoption("--study", default=None, help="run the tests of this study alone")
    parser.addoption("--data", default=None, help="GSM8K rows for the real-models tests (JSON lines, its own schema)")
    parser.addoption(
        "--pair", default="toy:qwen3-teacher,toy:qwen3-student", help="teacher,student of test_gkd_throughput"
    )
    parser.addoption("--shape", default="64x24x12", help="throughput: sequences x completion tokens x steps")
    parser.addoption("--strict-claims", action="store_true", help="an inconclusive claim fails (small and paper scale)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the tests of the study that --study names."""
    study = config.getoption("--study")
    if study is None:
        return
    chosen = [item for item in items if getattr(item, "callspec", None) and item.callspec.params.get("study") == study]
    if not chosen:
        raise pytest.UsageError(f"--study {study}: there is no test of such a study")
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--scale"))


@pytest.fixture(scope="session")
def stored(request: pytest.FixtureRequest, scale: str):
    """Return study -> folder of its stored result."""
    return lambda study: Path(request.config.getoption("--out")) / f"{study}-{scale}"


@pytest.fixture(scope="session")
def result(stored):
    """Return study -> content of its results.json."""
    return functools.cache(lambda study: read_result(stored(study)))


@pytest.fixture(scope="session")
def judged(result):
    """Return study -> measured tables and verdict report of its stored result."""
    return functools.cache(lambda study: judge_again(result(study)))
