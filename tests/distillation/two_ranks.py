"""Run by torchrun in `test_ranks.py`: all trainers on as many processes as there are."""

import json
import os
import shutil
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
from repro.guards.config import OutputLayerConfig
from repro.guards.output_layer import train_output_layer
from repro.progress import silent
from repro.tasks import Item
from repro.training.resources import TrainingResources


class Checked(grpo.CalibrationTrainer):
    """Fails if this process's advantages are not its share of the batch's."""

    def _log_rewards(self, reward_nK: torch.Tensor, group_size: int) -> None:
        self.raw = reward_nK
        super()._log_rewards(reward_nK, group_size)

    def _generate_and_score_completions(self, inputs):  # type: ignore[no-untyped-def]
        output = super()._generate_and_score_completions(inputs)
        n, rank = len(inputs), self.accelerator.process_index
        assert len(self.raw) == n * self.accelerator.num_processes
        advantage_n = group_advantages(self.raw[:, 0], self.raw[:, 1], self.calibration.eta, self.num_generations)
        share = advantage_n[rank * n : (rank + 1) * n]
        torch.testing.assert_close(output["advantages"].double(), share, atol=1e-5, rtol=0)
        return output


def main(base: Path, models: Path, stored: Path, shard: bool) -> None:
    items = [Item(f"sum/{a}-{b}", "sum", f"{a} + {b} = ?", str(a + b)) for a in range(4) for b in range(4)]
    name = f"{os.environ.get('WORLD_SIZE', '1')}{'-sharded' if shard else ''}"
    rows_of_method = {}

    def learn(method: str, out: Path) -> None:
        config = DistillationConfig(
            method="sft" if method == "reweighted" else method,
            steps=2,
            sequences_per_step=8,
            learning_rate=1e-2,
            warmup_fraction=0.0,
            max_completion_tokens=14,
            traces="full",
            engine="transformers",
        )
        distill(
            config,
            student=models / "student",
            teacher=models / "teacher",
            items=items,
            completions=stored,
            weights=base / "weights.parquet" if method == "reweighted" else None,
            task_reward=lambda items, texts: [1.0] * len(texts),
            seed=0,
            out=out,
            work=base / f"work-{method}-{name}",
            progress=silent,
            resources=TrainingResources(micro_batch=2, checkpoint_every=1, shard=shard),
        )

    def turn(method: str, out: Path) -> None:
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
        trainer.calibrate(
            config,
            teacher=models / "teacher",
            target=models / "student",
            items=items,
            task_reward=lambda items, texts: [float(len(text) % 2) for text in texts],
            seed=0,
            out=out,
            work=base / f"work-{method}-{name}",
            progress=silent,
            resources=TrainingResources(micro_batch=3, checkpoint_every=1, shard=shard),
        )

    def guard(method: str, out: Path) -> None:
        config = OutputLayerConfig(
            strength=0.5,
            temperature=2.0,
            steps=2,
            sequences_per_step=8,
            learning_rate=1e-2,
            warmup_fraction=0.0,
            max_completion_tokens=14,
            reasoning=True,
        )
        train_output_layer(
            config,
            teacher=models / "teacher",
            proxy=models / "student",
            items=items,
            completions=stored,
            seed=0,
            out=out,
            work=base / f"work-{method}-{name}",
            progress=silent,
            resources=TrainingResources(micro_batch=2, checkpoint_every=1, shard=shard),
        )

    trainer.CalibrationTrainer = Checked  # type: ignore[misc]
    for method in ("sft", "reweighted", "output-layer", "gkd-fkl", "gkd-rkl", "calibrate"):
        train = {"calibrate": turn, "output-layer": guard}.get(method, learn)
        train(method, base / f"{method}-{name}")
        rows_of_method[method] = [json.loads(line) for line in history(base / f"{method}-{name}")]
        if shard:  # stopped after its first step, it goes on to the same end
            if PartialState().is_main_process:
                shutil.rmtree(base / f"work-{method}-{name}" / "checkpoint-2")
            PartialState().wait_for_everyone()
            train(method, base / f"{method}-{name}-again")
            assert history(base / f"{method}-{name}-again") == history(base / f"{method}-{name}")
    if PartialState().is_main_process:
        (base / f"rows-{name}.json").write_text(json.dumps(rows_of_method))


def history(out: Path) -> list[str]:
    return (out / "history.jsonl").read_text().splitlines()


if __name__ == "__main__":
    assert qwen_tokenizer  # the tests' folder is importable
    main(*(Path(argument) for argument in sys.argv[1:4]), shard=len(sys.argv) > 4)
