"""The trainings of `gpu_proof.py`: seconds, memory and the planner's estimate of each, appended to the figures."""

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from random_models import make_items

from repro.distillation.config import Method
from repro.generation.config import EngineName

GIB = 2**30
CARD_GIB = 23.6
"""What CUDA has on a card of 24 GB."""


@dataclass(frozen=True)
class Proof:
    """What a step gets: where it may write, and where its figures go."""

    work: Path
    figures: Path
    tiny: bool

    def note(self, step: str, **figures: Any) -> None:
        """Append figures to the file, at once: what a later failure ends is not lost."""
        with self.figures.open("a") as file:
            file.write(json.dumps({"step": step, **figures}, default=str) + "\n")
        print(step, figures, flush=True)


@dataclass
class Clock:
    """A progress callback that records when each optimiser step ended, and prints it for a run that is cut short."""

    at: list[float] = field(default_factory=list)

    def __call__(self, *progress: Any, **named: Any) -> None:
        self.at.append(time.monotonic())
        print(f"{self.at[-1] - self.at[0]:.1f} s:", *progress, named, peak(), flush=True)

    def seconds(self) -> list[float]:
        return [round(after - before, 2) for before, after in zip(self.at, self.at[1:])]


def limit_to_small_card() -> None:
    """Let torch take no more of the GPU than a card of 24 GB has; vLLM's own pool does not count."""
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, CARD_GIB * GIB / total))


def peak() -> dict[str, float]:
    """Return the GiB that torch held at most, reserved at most, and what all of the GPU's programs hold now."""
    if not torch.cuda.is_available():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated_gib": round(torch.cuda.max_memory_allocated() / GIB, 2),
        "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2),
        "used_gib": round((total - free) / GIB, 2),
    }


def plan_small_card(kind: str) -> tuple[int, dict[str, float]]:
    """Plan this stage of the small scale for a card of 24 GB.

    Returns:
        Sequences in a forward, and the GiB of one rank by what holds them.
    """
    from repro.planner.gpu_memory import gpu_memory
    from repro.planner.placement import Cards, place
    from repro.recipes.catalog import plan

    stages = plan("table2", scale="small", seeds=1).stages()
    stage = next(stage for stage in stages if stage.procedure == kind)
    layout = place(stage, Cards(1, CARD_GIB)).layout
    memory = gpu_memory(stage, layout)
    figures = {name: round(gib, 2) for name, gib in vars(memory).items() if gib}
    return layout.micro_batch, figures | {"total": round(memory.total, 2)}


def train_student(
    proof: Proof,
    step: str,
    method: Method,
    *,
    engine: EngineName = "transformers",
    steps: int = 3,
    tokens: int = 512,
    **kw: Any,
) -> dict[str, Any]:
    """Train the student for a few steps with full-length sequences; note seconds and memory beside the plan's."""
    from repro.distillation.config import DistillationConfig
    from repro.distillation.distill import distill
    from repro.generation.rollouts import Rollout, write_rollouts
    from repro.training.resources import TrainingResources

    tokens, sequences = (12, 8) if proof.tiny else (tokens, kw.get("sequences", 32))
    items, stored = make_items(sequences), None
    folder = proof.work / step
    folder.mkdir(exist_ok=True)
    if method != "gkd-rkl":
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(400, 1000, (len(items), tokens - 1), generator=generator).tolist()
        rollouts = [
            Rollout(item.id, item.task, item.prompt, 0, [1], [*row, 2], [0.0] * tokens, "x", "eos")
            for item, row in zip(items, ids)
        ]
        stored = folder / "completions.parquet"
        write_rollouts(stored, rollouts)
    config = DistillationConfig(
        method=method,
        steps=steps,
        sequences_per_step=sequences,
        learning_rate=1e-5,
        warmup_fraction=0.0,
        max_completion_tokens=tokens,
        traces="full",
        engine=engine,
        reasoning=False,
    )
    micro_batch, planned = plan_small_card(method)
    clock, start = Clock(), time.monotonic()
    summary = distill(
        config,
        student=proof.work / "student",
        teacher=proof.work / "teacher",
        items=items,
        completions=stored,
        task_reward=lambda items, texts: [0.0] * len(texts),
        seed=0,
        out=folder / "out",
        work=folder / "work",
        progress=clock,
        resources=TrainingResources(micro_batch=micro_batch, shard=kw.get("shard", False)),
    )
    names = ("loss", "entropy", "length", "vllm_log_prob_gap", "alarm", "grad_norm")
    figures = {name: summary[name] for name in names if name in summary}
    proof.note(
        step,
        method=method,
        engine=engine,
        sequences=sequences,
        tokens=tokens,
        step_seconds=clock.seconds(),
        total_seconds=round(time.monotonic() - start, 1),
        **peak(),
        **figures,
        micro_batch=micro_batch,
        planned_gib=planned,
    )
    shutil.rmtree(folder / "out")  # gigabytes
    return summary


def calibrate_teacher(
    proof: Proof, step: str, engine: EngineName = "transformers", *, steps: int, prompts: int, tokens: int
) -> dict[str, Any]:
    """Calibrate the teacher for a few steps of 8 completions a prompt; note seconds, memory and the history's figures."""
    from repro.calibration.config import CalibrationConfig
    from repro.calibration.trainer import calibrate as train
    from repro.training.resources import TrainingResources

    tokens, prompts = (12, 2) if proof.tiny else (tokens, prompts)
    config = CalibrationConfig(
        eta=-1.0,
        steps=steps,
        prompts_per_step=prompts,
        group_size=8,
        learning_rate=1e-4,
        lora_rank=32,
        lora_alpha=64,
        kl_beta=0.04,
        max_completion_tokens=tokens,
        loss_type="dapo",
        advantages="group",
        length_normalised=False,
        engine=engine,
        reasoning=False,
    )
    micro_batch, planned = plan_small_card("calibrate")
    clock, start = Clock(), time.monotonic()
    folder = proof.work / step
    summary = train(
        config,
        teacher=proof.work / "teacher",
        target=proof.work / "student",
        items=make_items(prompts * steps),
        task_reward=lambda items, texts: [float(len(text) % 2) for text in texts],
        seed=0,
        out=folder / "out",
        work=folder / "work",
        progress=clock,
        resources=TrainingResources(micro_batch=micro_batch),
    )
    rows = [json.loads(line) for line in (folder / "out" / "history.jsonl").read_text().splitlines()]
    history = {name: [row.get(name) for row in rows] for name in ("vllm_log_prob_gap", "kl", "r_cal", "grad_norm")}
    proof.note(
        step,
        engine=engine,
        sequences=config.sequences_per_step,
        tokens=tokens,
        step_seconds=clock.seconds(),
        total_seconds=round(time.monotonic() - start, 1),
        **peak(),
        **history,
        alarm=summary.get("alarm"),
        micro_batch=micro_batch,
        planned_gib=planned,
    )
    shutil.rmtree(folder / "out")
    return summary
