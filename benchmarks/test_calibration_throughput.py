"""The calibration step against the same GRPO step without the cross-tokenizer reward, in one run on one device.

    OMP_NUM_THREADS=1 pytest benchmarks/test_calibration_throughput.py -q        (`nox -s throughput` has vLLM too)
    pytest benchmarks/test_calibration_throughput.py -m gpu                      (part of `nox -s gpu`)

All take the same prompts, shape, LoRA, anchor and engine.
"""

import statistics
from pathlib import Path
from typing import Any

import pytest
from bars import Bar, device_kind, device_name, table
from contenders import REPORTED, Contender, take_turns
from test_gkd_throughput import HAS_VLLM
from training_speed import WARM_UP, ratio

from repro.models.loading import locate

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(3000)]

WITH_TO_WITHOUT = Bar("the calibration step over plain GRPO", 1.10, proved=("cpu",))
PLAIN = "GRPO without r_cal"


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
@pytest.mark.benchmark(timer=REPORTED, warmup=False)
def test_the_reward_costs_little(
    tmp_path: Path, engine: str, pair: list[str], shape: dict[str, Any], benchmark: Any, capfd: Any
) -> None:
    if engine == "vllm" and not HAS_VLLM:
        pytest.skip("vLLM is not installed: nox -s throughput")
    benchmark.group = f"calibration by {engine}, {device_name()}, {shape['sequences']}x{shape['tokens']}"
    common = {"kind": "calibrate", "engine": engine, "shape": shape}
    contenders = [
        Contender(PLAIN, common | {"pair": pair, "with_reward": False}, tmp_path / "plain"),
        Contender("same tokenizer", common | {"pair": pair, "with_reward": True}, tmp_path / "same"),
    ]
    if device_kind() == "cpu":  # the toy world has a model of another family
        other = [pair[0], str(locate("toy:gemma3-target"))]
        contenders.append(
            Contender("other tokenizer", common | {"pair": other, "with_reward": True}, tmp_path / "other")
        )
    if engine == "vllm":  # two engines would share the GPU's memory, and each plans for what is free at its start
        for contender in contenders:
            with contender:
                contender.warm_up(WARM_UP)
                for _ in range(shape["steps"] - WARM_UP):
                    contender.step()
        benchmark.pedantic(lambda: None, rounds=1)  # the seconds are in extra_info
    else:
        take_turns(contenders, shape["steps"], WARM_UP, benchmark)
    seconds = {run.name: statistics.median(run.seconds()) for run in contenders}
    ratios = {run.name: round(ratio(run.seconds(), contenders[0].seconds()), 3) for run in contenders[1:]}
    benchmark.extra_info |= {"ratios": ratios, "seconds": seconds}
    summary = ", ".join(f"{name} {value:.2f}" for name, value in ratios.items())
    table(f"calibration step, {engine}; x turn by turn: {summary}", seconds, PLAIN, shape, capfd, *contenders)
    WITH_TO_WITHOUT.judge(max(ratios.values()), capfd)
