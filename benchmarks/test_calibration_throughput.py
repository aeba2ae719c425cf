"""The calibration step against the same GRPO step without the cross-tokenizer reward, in one run.

    OMP_NUM_THREADS=1 pytest benchmarks/test_calibration_throughput.py -q        (`nox -s throughput` has vLLM too)

Both take the same prompts, shape, LoRA, anchor and engine. The bar (1.10) fails where it is not reached, and stays.
"""

from pathlib import Path
from typing import Any

import pytest
from test_gkd_throughput import HAS_VLLM, table
from training_speed import Clock

from repro.calibration import trainer as module
from repro.calibration.config import CalibrationConfig
from repro.calibration.grpo import CalibrationTrainer
from repro.calibration.trainer import calibrate
from repro.generation.config import EngineName
from repro.models import locate
from repro.tasks import Item, registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

WITH_TO_WITHOUT = 1.10
GROUP = 8


class WithoutReward(CalibrationTrainer):
    """The same trainer with r_cal left out: the task's reward twice, neither model scores anything."""

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        return super(CalibrationTrainer, self)._generate(prompts)

    def _calibration(self, completion_ids: list[list[int]], item: list[int], **kwargs: Any) -> list[float]:
        return self._task(completion_ids, item)

    def _log_rewards(self, raw_nK: Any, group_size: int) -> None:
        pass


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return registry.get("toy-bm4").items("train", 32, 0)


def run(place: Path, engine: EngineName, items: list[Item], shape: dict[str, Any], target: str) -> float:
    clock = Clock()
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
        task_reward=lambda some, texts: [float(len(text) % 2) for text in texts],
        seed=0,
        out=place / "out",
        work=place / "work",
        progress=clock,
    )
    return clock.step()


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_the_reward_costs_little(
    tmp_path: Path, engine: EngineName, items: list[Item], monkeypatch: pytest.MonkeyPatch, capfd: Any, request: Any
) -> None:
    if engine == "vllm" and not HAS_VLLM:
        pytest.skip("vLLM is not installed: nox -s throughput")
    sequences, tokens, steps = map(int, str(request.config.getoption("--shape")).split("x"))
    shape = {"sequences": sequences, "tokens": tokens, "steps": steps}
    seconds = {}
    seconds["same tokenizer"] = run(tmp_path / "own", engine, items, shape, "toy:qwen3-target")
    seconds["other tokenizer"] = run(tmp_path / "other", engine, items, shape, "toy:gemma3-target")
    monkeypatch.setattr(module, "CalibrationTrainer", WithoutReward)
    seconds["GRPO without r_cal"] = run(tmp_path / "plain", engine, items, shape, "toy:qwen3-target")
    table(f"calibration step, {engine}", seconds, "GRPO without r_cal", shape, capfd)
    worst = max(seconds.values()) / seconds["GRPO without r_cal"]
    assert worst <= WITH_TO_WITHOUT, f"{worst:.2f}"
