"""Trainings that take one optimiser step whenever they are asked, each in a process of its own.

So a contender's memory is its own, vLLM's sleeping engine is the only one of its process, and contenders can take turns: other
work on the machine then slows all of them alike. They run on one device and in one precision: the GPU with bfloat16
autocast if there is one, else the CPU in float32.

    python contenders.py SPEC.json REQUESTS ANSWERS      the child; the last two are file descriptors
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from repro.distillation.config import Method
from repro.generation.config import EngineName
from repro.system.gpus import visible_gpus

GIB = 2**30
HERE = Path(__file__).resolve().parent


class ReportedSeconds:
    """A timer for pytest-benchmark: the seconds that contenders report of their own steps, added up.

    On a CPU those are processor seconds of their process, which other work on the machine hardly changes.
    """

    total = 0.0

    def __call__(self) -> float:
        return self.total


REPORTED = ReportedSeconds()


@dataclass
class Contender:
    """The parent's side of a contender; use it as a context.

    Attributes:
        name: for people.
        spec: what the child runs: its `kind` is a key of `KINDS`, the rest are that function's arguments.
        folder: gets the child's outputs and what it prints.
        parts: of each counted step, seconds by part; of most contenders the step is the only part.
        peak_mib: largest resident memory of the process.
        peak_gib: what torch held at most on the GPU; 0 on a CPU. vLLM's own pool does not count.
        used_gib: what all programs held on the GPU at the end of a step.
    """

    name: str
    spec: dict[str, Any]
    folder: Path
    parts: list[dict[str, float]] = field(default_factory=list)
    peak_mib: float = 0.0
    peak_gib: float = 0.0
    used_gib: float = 0.0

    def __enter__(self) -> "Contender":
        self.folder.mkdir(parents=True, exist_ok=True)
        gpus = visible_gpus()
        environment = os.environ | ({"CUDA_VISIBLE_DEVICES": gpus[0]} if gpus else {})
        if "server" in self.spec:  # on a GPU that the trainer does not see
            self.spec = self.spec | {"server": gpus[1:2]}
        spec = self.folder / "spec.json"
        spec.write_text(json.dumps(self.spec | {"folder": str(self.folder)}))
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
        with (self.folder / "printed.log").open("w") as printed:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(spec), str(requests), str(answers)],
                pass_fds=(requests, answers),
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=environment | {"PYTHONPATH": path},
            )
        os.close(requests)
        os.close(answers)
        self._lines = os.fdopen(self._answers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._requests)  # the child ends when nobody asks any more
        self._lines.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def step(self) -> float:
        """Let the child take one step; return its seconds.

        Raises:
            RuntimeError: the child ended; shows the end of what it printed.
        """
        os.write(self._requests, b"step\n")
        line = self._lines.readline()
        if not line:
            printed = (self.folder / "printed.log").read_text(errors="replace")
            raise RuntimeError(f"{self.name} ended:\n{printed[-3000:]}")
        answer = json.loads(line)
        self.parts.append(answer["parts"])
        self.peak_mib, self.peak_gib, self.used_gib = (answer[name] for name in ("peak_mib", "peak_gib", "used_gib"))
        seconds = sum(answer["parts"].values())
        REPORTED.total += seconds
        with (self.folder / "steps.log").open("a") as steps:  # for a run that is cut short
            print(answer, file=steps)
        return seconds

    def warm_up(self, steps: int) -> None:
        """Take steps that do not count: imports, allocations, compilation, the first generation."""
        for _ in range(steps):
            self.step()
        self.parts.clear()

    def seconds(self) -> list[float]:
        """Return the seconds of the steps that count."""
        return [sum(parts.values()) for parts in self.parts]


def take_turns(contenders: Sequence[Contender], steps: int, warm_up: int, benchmark: Any) -> None:
    """Take steps in turn, so that other work on the machine slows all contenders alike. steps: `warm_up` included."""
    with contextlib.ExitStack() as running:
        for contender in contenders:
            running.enter_context(contender)
            contender.warm_up(warm_up)
        benchmark.pedantic(lambda: [contender.step() for contender in contenders], rounds=steps - warm_up)


class Turn:
    """The child's side: a progress callback that reports a step and waits until the next is asked for."""

    def __init__(self, requests: int, answers: int) -> None:
        from training_speed import now

        self._now = now
        self._requests, self._answers = os.fdopen(requests), os.fdopen(answers, "w")
        self._wait()

    def __call__(self, *progress: Any, **named: Any) -> None:
        """Report a step, by part if the first argument says so, and wait for the next request."""
        parts = progress[0] if progress and isinstance(progress[0], dict) else {"step": self._now() - self._started}
        import torch
        from training_speed import peak_mib

        gpu = torch.cuda.is_available()
        free, total = torch.cuda.mem_get_info() if gpu else (0, 0)
        answer = {
            "parts": parts,
            "peak_mib": peak_mib(),
            "peak_gib": torch.cuda.max_memory_allocated() / GIB if gpu else 0.0,
            "used_gib": (total - free) / GIB,
        }
        print(json.dumps(answer), file=self._answers, flush=True)
        self._wait()

    def _wait(self) -> None:
        if not self._requests.readline():
            os._exit(0)  # nobody asks any more; what the training would save is of no use
        self._started = self._now()


def distil(
    turn: Callable[..., None],
    *,
    pair: list[str],
    shape: dict[str, Any],
    method: Method,
    engine: EngineName,
    folder: str,
    **kw: Any,
) -> None:
    """Train by the kit's trainer. kw: completions, a rollout file; server, GPUs of a vLLM server; divergence, a loss."""
    from repro.distillation.config import DistillationConfig
    from repro.distillation.distill import distill
    from repro.generation.server import ServerPlacement
    from repro.training.resources import TrainingResources

    config = DistillationConfig(
        method=method,
        steps=shape["steps"],
        sequences_per_step=shape["sequences"],
        learning_rate=1e-6,
        warmup_fraction=0.0,
        max_completion_tokens=shape["tokens"],
        traces="full",
        engine=engine,
        divergence=kw.get("divergence"),
    )
    server = ServerPlacement(1, tuple(kw["server"])) if "server" in kw else None
    distill(
        config,
        student=Path(pair[1]),
        teacher=Path(pair[0]),
        items=items(),
        completions=Path(kw["completions"]) if kw.get("completions") else None,
        task_reward=lambda items, texts: [0.0] * len(texts),
        seed=0,
        out=Path(folder) / "out",
        work=Path(folder) / "work",
        progress=turn,
        resources=TrainingResources(micro_batch=shape["micro_batch"], server=server),
    )


def trl_gkd(turn: Callable[..., None], *, pair: list[str], shape: dict[str, Any], folder: str) -> None:
    """Train by TRL's experimental GKDTrainer: on-policy (lmbda = 1), same divergence and shape.

    It samples the sequences of each forward by themselves, so it gets four times as many in a forward as the others.
    """
    import warnings

    import torch
    from datasets import Dataset
    from transformers import TrainerCallback

    from repro.models.loading import load_for_training, load_model, load_tokenizer

    class Report(TrainerCallback):
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            turn()

    rows = []
    for number in range(shape["sequences"] * shape["steps"]):
        prompt = {"role": "user", "content": items()[number % len(items())].prompt}
        rows.append({"messages": [prompt, {"role": "assistant", "content": "y"}]})
    gpu, most = torch.cuda.is_available(), 4 * (shape["micro_batch"] or shape["sequences"])
    size = min(most, shape["sequences"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.gkd import GKDConfig, GKDTrainer

        arguments = GKDConfig(
            output_dir=folder,
            lmbda=1.0,
            beta=1.0,
            temperature=1.0,
            max_new_tokens=shape["tokens"],
            per_device_train_batch_size=size,
            gradient_accumulation_steps=shape["sequences"] // size,
            max_steps=shape["steps"],
            learning_rate=1e-6,
            use_cpu=not gpu,
            bf16=gpu,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = GKDTrainer(
            model=load_for_training(Path(pair[1])),
            teacher_model=load_model(Path(pair[0])),
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(Path(pair[1])),
            callbacks=[Report()],
        )
        trainer.train()


def bare(
    turn: Callable[..., None],
    *,
    pair: list[str],
    shape: dict[str, Any],
    parts: Sequence[str],
    folder: str,
    rounds: int | None = None,
) -> None:
    """Take bare steps: the named methods of `Bare`, one after the other. rounds: None for ever."""
    from training_speed import Bare, now

    loop = Bare(Path(pair[1]), Path(pair[0]), items(), shape)
    for _ in itertools.count() if rounds is None else range(rounds):
        seconds = {}
        for part in parts:
            start = now()
            getattr(loop, part)()
            seconds[part] = now() - start
        turn(seconds)


def calibrate(
    turn: Callable[..., None],
    *,
    pair: list[str],
    shape: dict[str, Any],
    engine: EngineName,
    with_reward: bool,
    folder: str,
) -> None:
    """Calibrate the first model towards the second; without the reward, plain GRPO on the task's reward."""
    from repro.calibration import trainer as module
    from repro.calibration.config import CalibrationConfig
    from repro.training.resources import TrainingResources

    if not with_reward:
        from plain_grpo import WithoutReward

        module.CalibrationTrainer = WithoutReward  # type: ignore[misc]
    config = CalibrationConfig(
        eta=0.5,
        steps=shape["steps"],
        prompts_per_step=shape["sequences"] // 8,
        group_size=8,
        learning_rate=1e-6,
        lora_rank=16,
        lora_alpha=32,
        kl_beta=0.02,
        max_completion_tokens=shape["tokens"],
        loss_type="dapo",
        advantages="group",
        length_normalised=False,
        engine=engine,
    )
    module.calibrate(
        config,
        teacher=Path(pair[0]),
        target=Path(pair[1]),
        items=items(),
        task_reward=lambda items, texts: [float(len(text) % 2) for text in texts],
        seed=0,
        out=Path(folder) / "out",
        work=Path(folder) / "work",
        progress=turn,
        resources=TrainingResources(micro_batch=shape["micro_batch"]),
    )


def items() -> list[Any]:
    """Return 32 prompts."""
    from repro.tasks import registry

    return registry.get("toy-bm4").items("train", 32, 0)


KINDS: dict[str, Callable[..., None]] = {"distil": distil, "trl": trl_gkd, "bare": bare, "calibrate": calibrate}


def main(spec: dict[str, Any], requests: int, answers: int) -> None:
    """Run the child, with the memory settings of a stage's process."""
    from repro.system.freed_memory import keep_freed_memory

    keep_freed_memory()
    KINDS[spec.pop("kind")](Turn(requests, answers), **spec)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), int(sys.argv[3]))
