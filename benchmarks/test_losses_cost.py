"""Time and memory of GKD-RKL with each loss over GKD-RKL with its own, in turn, in one run.

    OMP_NUM_THREADS=1 pytest benchmarks/test_losses_cost.py -q
    pytest benchmarks/test_losses_cost.py -m gpu

Ratios alone are compared: on a CPU processor seconds and resident memory of processes of their own. `--pair`, `--shape` and
`--micro-batch` as in test_gkd_throughput.py. Both sample on-policy: it is the trainer's step that is compared, not the loss.
"""

from pathlib import Path
from typing import Any

import pytest
from bars import Bar, device_name, say
from contenders import REPORTED, Contender, take_turns
from training_speed import WARM_UP, ratio

from repro.distillation.loss import LOSSES

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(3000)]
KIT = {"kind": "distil", "method": "gkd-rkl", "engine": "transformers"}
TIME = Bar("a step over that of reverse KL", 1.15, proved=("cpu",))
MEMORY = Bar("memory over that of reverse KL", 1.15, proved=("cpu",))


@pytest.mark.parametrize("name", [name for name in LOSSES.built_in if name != "rkl"])
@pytest.mark.benchmark(timer=REPORTED, warmup=False)
def test_a_loss_costs_little_more_than_reverse_kl(
    name: str, tmp_path: Path, pair: list[str], shape: dict[str, Any], benchmark: Any, capfd: Any
) -> None:
    spec = KIT | {"pair": pair, "shape": shape}
    runs = [Contender(loss, spec | {"divergence": loss}, tmp_path / loss) for loss in (name, "rkl")]
    benchmark.group = f"losses, {device_name()}, {shape['sequences']}x{shape['tokens']}"
    take_turns(runs, shape["steps"], WARM_UP, benchmark)
    time = ratio(*(run.seconds() for run in runs))
    peaks = [run.peak_gib or run.peak_mib for run in runs]
    benchmark.extra_info["ratios"] = {name: round(time, 3), f"{name}, memory": round(peaks[0] / peaks[1], 3)}
    say(f"{name}: {time:.3f} x the time, {peaks[0] / peaks[1]:.3f} x the memory of reverse KL", capfd)
    MEMORY.judge(peaks[0] / peaks[1], capfd)
    TIME.judge(time, capfd)
