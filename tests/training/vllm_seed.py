"""Run by a vLLM test: a GKD-RKL of two steps; writes the texts that it sampled."""

import json
import sys
from pathlib import Path

from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.progress import silent
from repro.tasks import Item


def main(base: Path, models: Path, seed: int) -> None:
    items = [Item(f"sum/{a}-{b}", "sum", f"{a} + {b} = ?", str(a + b)) for a in range(4) for b in range(4)]
    texts: list[str] = []

    def reward(items: list[Item], new: list[str]) -> list[float]:
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
        student=models / "student",
        teacher=models / "teacher",
        items=items,
        completions=None,
        task_reward=reward,
        seed=seed,
        out=base / "out",
        work=base / "work",
        progress=silent,
    )
    (base / "texts.json").write_text(json.dumps(texts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
