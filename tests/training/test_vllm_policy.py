"""vLLM in the trainer's process: weights arrive after every step, and the seed decides the samples."""

import importlib.util
from pathlib import Path

import pytest
from calibration.test_trainer import lines, run
from tiny_models import save_qwen

from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.progress import silent
from repro.tasks import Item

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (extra cpu or gpu)"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Teacher and student with heads of a size that vLLM's CPU attention knows."""
    place = tmp_path_factory.mktemp("wide")
    return save_qwen(place / "teacher", hidden=64, seed=1), save_qwen(place / "student", hidden=64, seed=2)


def test_calibration_samples_from_the_weights_of_each_step(
    tmp_path: Path, models: tuple[Path, Path], items: list[Item]
) -> None:
    run(tmp_path, *models, items, steps=4, learning_rate=5e-2, engine="vllm", kl_beta=0.001)
    rows = lines(tmp_path / "out")
    assert rows[-1]["kl"] > 0.05  # far from where it started, so stale weights would show
    for row in rows:
        assert row["vllm_log_prob_gap"] < 0.05  # vLLM serves bfloat16
        assert row["vllm_importance_ratio"] == pytest.approx(1, abs=0.05)


def test_the_seed_decides_the_samples(tmp_path: Path, models: tuple[Path, Path], items: list[Item]) -> None:
    teacher, student = models
    found: list[list[str]] = []
    for number, seed in enumerate((0, 0, 1)):
        texts: list[str] = []

        def reward(items: list[Item], new: list[str], texts: list[str] = texts) -> list[float]:
            texts.extend(new)
            return [1.0] * len(new)

        config = DistillationConfig(
            method="gkd-rkl",
            steps=2,
            sequences_per_step=8,
            learning_rate=1e-2,
            warmup_fraction=0.0,
            max_completion_tokens=12,
            traces="full",
            engine="vllm",
        )
        distill(
            config,
            student=student,
            teacher=teacher,
            items=items,
            completions=None,
            task_reward=reward,
            seed=seed,
            out=tmp_path / f"out{number}",
            work=tmp_path / f"work{number}",
            progress=silent,
        )
        found.append(texts)
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert len(set(found[0])) > 8
