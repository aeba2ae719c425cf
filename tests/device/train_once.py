"""Run by `test_stages.py`, under torchrun where it is sharded: a few steps of GKD-FKL on stored completions."""

import sys
from pathlib import Path

from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.generation.rollouts import Rollout, write_rollouts
from repro.progress import silent
from repro.tasks import Item
from repro.training.resources import TrainingResources


def main(base: Path, teacher: Path, student: Path, name: str) -> None:
    items = [Item(f"sum/{n}", "sum", f"{n} + 1 = ?", str(n + 1)) for n in range(8)]
    base.mkdir(parents=True)
    stored = base / "completions.parquet"
    rollouts = [
        Rollout(item.id, item.task, item.prompt, 0, [], [20 + n, 30, 40 + n, 2], [0.0] * 4, "x", "eos")
        for n, item in enumerate(items)
    ]
    write_rollouts(stored, rollouts)
    config = DistillationConfig(
        method="gkd-fkl",
        steps=4,
        sequences_per_step=8,
        learning_rate=1e-2,
        warmup_fraction=0.0,
        max_completion_tokens=8,
        traces="full",
        engine="transformers",
    )
    distill(
        config,
        student=student,
        teacher=teacher,
        items=items,
        completions=stored,
        task_reward=lambda items, texts: [0.0] * len(texts),
        seed=0,
        out=base / "out",
        work=base / "work",
        progress=silent,
        resources=TrainingResources(micro_batch=4, shard=name == "shard"),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
