"""The calibration step against the same GRPO step without the cross-tokenizer reward, in one run.

    OMP_NUM_THREADS=1 pytest benchmarks/test_calibration_throughput.py -q        (`nox -s throughput` has vLLM too)

Both take the same prompts, shape, LoRA, anchor and engine. The bar is 1.10; missing it fails.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_gkd_throughput import HAS_VLLM, table
from training_speed import Clock, Turns, ratio

from repro.calibration import trainer as module
from repro.calibration.config import CalibrationConfig
from repro.calibration.grpo import CalibrationTrainer
from repro.calibration.policy_log_prob import PolicyLogProb
from repro.calibration.trainer import calibrate
from repro.generation.config import EngineName
from repro.models.loading import locate
from repro.tasks import Item, registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

WITH_TO_WITHOUT = 1.10
GROUP = 8


class WithoutReward(CalibrationTrainer):
    """The same trainer with r_cal left out: the task's reward twice, neither model scores anything."""

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        return super(PolicyLogProb, self)._generate(prompts)

    def _calibration_reward(self, completion_ids: list[list[int]], item: list[int], **kwargs: Any) -> list[float]:
        return self._task_reward(completion_ids, item)

    def _log_rewards(self, reward_nK: Any, group_size: int) -> None:
        pass


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return registry.get("toy-bm4").items("train", 32, 0)


def run(folder: Path, engine: EngineName, items: list[Item], shape: dict[str, Any], target: str, clock: Clock) -> None:
    config = CalibrationConfig(
        eta=0.5,
        steps=shape["steps"],
        prompts_per_step=shape["sequences"] // GROUP,
        group_size=GROUP,
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
    calibrate(
        config,
        teacher=locate("toy:qwen3-teacher"),
        target=locate(target),
        items=items,
        task_reward=lambda items, texts: [float(len(text) % 2) for text in texts],
        seed=0,
        out=folder / "out",
        work=folder / "work",
        progress=clock,
    )


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_the_reward_costs_little(
    tmp_path: Path, engine: EngineName, items: list[Item], monkeypatch: pytest.MonkeyPatch, capfd: Any, request: Any
) -> None:
    if engine == "vllm" and not HAS_VLLM:
        pytest.skip("vLLM is not installed: nox -s throughput")
    sequences, tokens, steps = map(int, str(request.config.getoption("--shape")).split("x"))
    shape = {"sequences": sequences, "tokens": tokens, "steps": steps}
    plain = "GRPO without r_cal"
    trainers = {plain: WithoutReward, "same tokenizer": CalibrationTrainer, "other tokenizer": CalibrationTrainer}

    def contender(name: str, target: str) -> Callable[[Clock], None]:
        def go(clock: Clock) -> None:
            monkeypatch.setattr(module, "CalibrationTrainer", trainers[name])  # it is its turn: no other contender runs
            run(tmp_path / name, engine, items, shape, target, clock)

        return go

    contenders = {
        plain: contender(plain, "toy:qwen3-target"),
        "same tokenizer": contender("same tokenizer", "toy:qwen3-target"),
        "other tokenizer": contender("other tokenizer", "toy:gemma3-target"),
    }
    if engine == "vllm":  # one engine at a time in a process
        steps = {name: Turns().steps({name: contender})[name] for name, contender in contenders.items()}
    else:
        steps = Turns().steps(contenders)
    seconds = {name: statistics.median(times) for name, times in steps.items()}
    ratios = {name: ratio(times, steps[plain]) for name, times in steps.items()}
    summary = ", ".join(f"{name} {value:.2f}" for name, value in ratios.items() if name != plain)
    table(f"calibration step, {engine}; x turn by turn: {summary}", seconds, plain, shape, capfd)
    assert max(ratios.values()) <= WITH_TO_WITHOUT, summary
