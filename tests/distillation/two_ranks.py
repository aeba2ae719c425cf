"""Run by torchrun in `test_ranks.py`: all trainers on as many processes as there are."""

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from tiny_models import qwen_tokenizer

from repro.calibration import grpo, trainer
from repro.calibration.advantages import group_advantages
from repro.calibration.config import CalibrationConfig
from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.progress import silent
from repro.tasks import Item


class Checked(grpo.CalibrationTrainer):
    """Fails where this process's advantages are not its share of the whole batch's."""

    def _log_rewards(self, raw_nK: torch.Tensor, group_size: int) -> None:
        self.raw = raw_nK
        super()._log_rewards(raw_nK, group_size)

    def _generate_and_score_completions(self, inputs):  # type: ignore[no-untyped-def]
        output = super()._generate_and_score_completions(inputs)
        n, rank = len(inputs), self.accelerator.process_index
        assert len(self.raw) == n * self.accelerator.num_processes
        whole = group_advantages(self.raw[:, 0], self.raw[:, 1], self.calibration.eta, self.num_generations)
        share = whole[rank * n : (rank + 1) * n]
        torch.testing.assert_close(output["advantages"].double(), share, atol=1e-5, rtol=0)
        return output


def main(place: Path, models: Path, stored: Path, shard: bool = False) -> None:
    items = [Item(f"sum/{a}-{b}", "sum", f"{a} + {b} = ?", str(a + b)) for a in range(4) for b in range(4)]
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    found = {}
    for method in ("sft", "gkd-fkl", "gkd-rkl"):
        config = DistillationConfig(
            method=method,
            steps=2,
            sequences_per_step=8,
            learning_rate=1e-2,
            warmup_fraction=0.0,
            max_completion_tokens=14,
            traces="full",
            engine="transformers",
        )
        out = place / f"{method}-{ranks}"
        distill(
            config,
            student=models / "student",
            teacher=models / "teacher",
            items=items,
            completions=stored,
            task_reward=lambda items, texts: [1.0] * len(texts),
            seed=0,
            out=out,
            work=place / f"work-{out.name}",
            progress=silent,
            micro_batch=2,
            checkpoint_every=1,
            shard=shard,
        )
        found[method] = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    trainer.CalibrationTrainer = Checked  # type: ignore[misc]
    config = CalibrationConfig(
        eta=-0.5,
        steps=2,
        prompts_per_step=2,
        group_size=6,  # with two processes a group lies on both
        learning_rate=1e-2,
        lora_rank=2,
        lora_alpha=4,
        kl_beta=0.02,
        max_completion_tokens=8,
        loss_type="dapo",
        advantages="group",
        length_normalised=False,
        engine="transformers",
    )
    out = place / f"calibrate-{ranks}"
    trainer.calibrate(
        config,
        teacher=models / "teacher",
        target=models / "student",
        items=items,
        task_reward=lambda items, texts: [float(len(text) % 2) for text in texts],
        seed=0,
        out=out,
        work=place / f"work-{out.name}",
        progress=silent,
        micro_batch=3,
        checkpoint_every=1,
        shard=shard,
    )
    found["calibrate"] = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    if PartialState().is_main_process:
        (place / f"found-{ranks}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    assert qwen_tokenizer  # the tests' folder is importable
    main(*(Path(argument) for argument in sys.argv[1:]))
