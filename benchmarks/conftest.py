"""Options and fixtures of the benchmarks: the stored result that the study tests read, the models that others train."""

import functools
from pathlib import Path
from typing import Any

import pytest

from repro.report.reload import judge_again
from repro.report.result import read_result


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--out", default="results", help="folder that `repro run` wrote to")
    parser.addoption("--scale", default="toy", help="scale of the result: toy, small or paper")
    parser.addoption("--study", default=None, help="run the tests of this study alone")
    parser.addoption("--data", default=None, help="GSM8K rows for the real-models tests (JSON lines, its own schema)")
    parser.addoption("--pair", default=None, help="teacher,student of the training benchmarks")
    parser.addoption("--shape", default=None, help="training benchmarks: sequences x completion tokens x steps")
    parser.addoption("--micro-batch", type=int, default=None, help="training benchmarks: sequences in a forward")
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


def _has_gpu() -> bool:
    import torch  # loaded where a test needs it: the tests on stored results do not, and take seconds less

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def shape(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return sequences of a step, tokens of a completion, steps, sequences in a forward (None: all).

    A CPU gets a toy's size, a GPU one whose every contender takes minutes at most.
    """
    gpu = _has_gpu()
    text = request.config.getoption("--shape") or ("64x192x6" if gpu else "64x24x12")
    sequences, tokens, steps = map(int, text.split("x"))
    micro_batch = request.config.getoption("--micro-batch") or (4 if gpu else None)
    return {"sequences": sequences, "tokens": tokens, "steps": steps, "micro_batch": micro_batch}


@pytest.fixture(scope="session")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the folders of teacher and student: toy models on a CPU, random weights of the small scale's on a GPU."""
    named = request.config.getoption("--pair")
    if named is None and _has_gpu():
        from random_models import save_pair

        folder = tmp_path_factory.mktemp("random")
        save_pair(folder, tiny=False)
        return [str(folder / "teacher"), str(folder / "student")]
    from repro.models.loading import locate

    return [str(locate(name)) for name in (named or "toy:qwen3-teacher,toy:qwen3-student").split(",")]


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
