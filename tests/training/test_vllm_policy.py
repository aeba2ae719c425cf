"""vLLM in the trainer's process: weights arrive after every step, and the seed decides the samples."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from calibration.test_trainer import lines, run
from tiny_models import save_multimodal_gemma, save_qwen

from repro.calibration import trainer as module
from repro.calibration.grpo import CalibrationTrainer
from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.generation.server import RANK_VARIABLES
from repro.progress import silent
from repro.tasks import Item

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.gpu,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (extra cpu or gpu)"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Teacher and student with heads of a size that vLLM's CPU attention supports."""
    folder = tmp_path_factory.mktemp("wide")
    return save_qwen(folder / "teacher", hidden=64, seed=1), save_qwen(folder / "student", hidden=64, seed=2)


def test_calibration_samples_from_the_weights_of_each_step(
    tmp_path: Path, models: tuple[Path, Path], items: list[Item]
) -> None:
    run(tmp_path, *models, items, steps=4, learning_rate=5e-2, engine="vllm", kl_beta=0.001)
    rows = lines(tmp_path / "out")
    assert rows[-1]["kl"] > 0.05  # far from where it started, so stale weights would show
    for row in rows:
        assert row["vllm_log_prob_gap"] < 0.05  # vLLM serves bfloat16
        assert row["vllm_importance_ratio"] == pytest.approx(1, abs=0.05)
    assert not logging.getLogger("vllm.utils.jit_monitor").isEnabledFor(logging.WARNING)  # of the trainer's kernels


@pytest.mark.timeout(900)
def test_the_seed_decides_the_samples(tmp_path: Path, models: tuple[Path, Path]) -> None:
    """Each training in a process of its own, as on a GPU."""
    sampled: list[list[str]] = []
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = {
        name: value for name, value in os.environ.items() if name not in RANK_VARIABLES
    }  # this process's group
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(number)
        script = str(Path(__file__).with_name("vllm_seed.py"))
        ended = subprocess.run(
            [sys.executable, script, str(folder), str(models[0].parent), str(seed)],
            env=environment | {"PYTHONPATH": path},
            timeout=300,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        sampled.append(json.loads((folder / "texts.json").read_text()))
    assert sampled[0] == sampled[1]
    assert sampled[0] != sampled[2]
    assert len(set(sampled[0])) > 8


def test_the_rewards_policy_term_is_the_trainers_forward(
    tmp_path: Path, models: tuple[Path, Path], items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's own scoring equals a second forward: r_cal never contains vLLM's log-probabilities."""
    generated: list[tuple[Any, Any]] = []
    gaps: list[float] = []

    class Spy(CalibrationTrainer):
        def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
            out = super()._generate(prompts)
            generated.append((out[0], out[1]))
            return out

        def policy_log_prob(self, completion_ids: list[list[int]]) -> torch.Tensor:
            reused = super().policy_log_prob(completion_ids)
            assert [list(ids) for ids in completion_ids] == [list(ids) for ids in generated[-1][1]]
            again_BC = self.score(*generated[-1]).double()
            again = torch.stack([row[: len(ids)].sum() for row, ids in zip(again_BC, completion_ids)])
            gaps.append(float((reused - again).abs().max()))
            return reused

    monkeypatch.setattr(module, "CalibrationTrainer", Spy)
    run(tmp_path, *models, items, steps=3, learning_rate=5e-2, engine="vllm")
    assert len(gaps) == 3
    assert max(gaps) < 1e-4  # nats per sequence


def test_distillation_reports_the_samplers_gap(tmp_path: Path, models: tuple[Path, Path], items: list[Item]) -> None:
    teacher, student = models
    config = DistillationConfig(
        method="gkd-rkl",
        steps=3,
        sequences_per_step=8,
        learning_rate=5e-2,
        warmup_fraction=0.0,
        max_completion_tokens=12,
        traces="full",
        engine="vllm",
    )
    summary = distill(
        config,
        student=student,
        teacher=teacher,
        items=items,
        completions=None,
        task_reward=lambda items, texts: [1.0] * len(texts),
        seed=0,
        out=tmp_path / "out",
        work=tmp_path / "work",
        progress=silent,
    )
    gaps = [row["vllm_log_prob_gap"] for row in lines(tmp_path / "out")]
    assert all(0 < gap < 0.05 for gap in gaps)  # the weights of each step have arrived
    assert "alarm" not in summary


def test_a_multimodal_student_learns_through_vllm(tmp_path: Path, items: list[Item]) -> None:
    """A checkpoint with a vision tower and a padded vocabulary: vLLM starts from its language model, cut to size."""
    student = save_multimodal_gemma(tmp_path / "student", seed=1)
    teacher = save_multimodal_gemma(tmp_path / "teacher", seed=2, vocabulary=200)
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
    summary = distill(
        config,
        student=student,
        teacher=teacher,
        items=items,
        completions=None,
        task_reward=lambda items, texts: [1.0] * len(texts),
        seed=0,
        out=tmp_path / "out",
        work=tmp_path / "work",
        progress=silent,
    )
    assert summary["teacher_vocabulary"] == 200
    assert all(row["vllm_log_prob_gap"] < 0.05 for row in lines(tmp_path / "out"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.gpus(2)
@pytest.mark.parametrize("method", ["calibrate", "gkd-rkl"])
def test_vllm_gets_unsharded_weights_from_two_processes(tmp_path: Path, models: tuple[Path, Path], method: str) -> None:
    """Sharded models give every figure of unsharded ones, and the sampler's log-probabilities stay at the trainer's."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    histories = []
    for name in ("unsharded", "shard"):
        ended = subprocess.run(
            [
                *launch,
                str(Path(__file__).with_name("vllm_ranks.py")),
                *(str(tmp_path / name), str(models[0].parent), method),
                *(["shard"] if name == "shard" else []),
            ],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
            timeout=800,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        histories.append(lines(tmp_path / name / "out"))
    for row, sharded_row in zip(*histories, strict=True):
        present = [name for name, value in row.items() if value is not None]
        assert sharded_row.keys() == row.keys()
        assert [sharded_row[name] for name in present] == pytest.approx(
            [row[name] for name in present], rel=1e-3, abs=1e-4
        )
        assert sharded_row["vllm_log_prob_gap"] < 0.05
