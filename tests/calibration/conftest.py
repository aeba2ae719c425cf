from pathlib import Path

import pytest
from tiny_models import save_gemma, save_qwen

from repro.tasks import Item


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen(tmp_path_factory.mktemp("models") / "teacher", layers=2, seed=1)


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen(tmp_path_factory.mktemp("models") / "student", layers=1, seed=2)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the other family: another architecture, another tokenizer."""
    return save_gemma(tmp_path_factory.mktemp("models") / "stranger")


@pytest.fixture(scope="session")
def items() -> list[Item]:
    return [Item(f"sum/{a}-{b}", "sum", f"{a} + {b} = ?", str(a + b)) for a in range(4) for b in range(4)]
