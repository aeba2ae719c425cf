"""Padding of steps cut into forwards, on realistic lengths: sorted by length against in the order drawn.

    OMP_NUM_THREADS=1 pytest benchmarks/test_padding.py -q

Lengths are sampled from a log-normal distribution with the median and spread of GSM8K rows (question and worked answer in SmolLM2's
tokens, 3,000 training rows, MEASURED: 168 tokens, 0.36). Times are of bare forward and backward passes of a toy student, in turn.
"""

import math
import random
import statistics
from typing import Any

import pytest
import torch
from training_speed import now

from repro.models.loading import load_for_training, locate
from repro.training.buckets import order_by_length

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEP, STEPS = 128, 24
MEDIAN, SPREAD, LONGEST = 168.0, 0.36, 1024
SAVED = {4: 0.2, 16: 0.3}
"""Smallest share of the padded positions saved, by sequences in a forward."""


def sample_lengths() -> list[int]:
    rng = random.Random(0)
    return [min(LONGEST, max(4, round(MEDIAN * math.exp(SPREAD * rng.gauss(0, 1))))) for _ in range(STEP * STEPS)]


def positions(lengths: list[int], micro_batch: int) -> int:
    """Return the positions that the forwards compute: their longest sequence times their sequences."""
    return sum(
        max(part) * len(part) for part in (lengths[n : n + micro_batch] for n in range(0, len(lengths), micro_batch))
    )


@pytest.mark.parametrize("micro_batch", SAVED)
def test_positions_saved(micro_batch: int, capfd: Any) -> None:
    lengths = sample_lengths()
    as_drawn = positions(lengths, micro_batch)
    sorted_ = positions([lengths[n] for n in order_by_length(lengths, STEP)], micro_batch)
    with capfd.disabled():
        print(
            f"\n{micro_batch} sequences a forward, {STEP} a step: padding {1 - sum(lengths) / as_drawn:.1%} as drawn,"
            f" {1 - sum(lengths) / sorted_:.1%} by length; {1 - sorted_ / as_drawn:.1%} of the positions saved"
        )
    assert 1 - sorted_ / as_drawn >= SAVED[micro_batch]


def test_time_saved(capfd: Any) -> None:
    model = load_for_training(locate("toy:qwen3-student")).train()
    lengths, micro_batch, ratios = sample_lengths(), 4, []

    def seconds(lengths_of_step: list[int]) -> float:
        started = now()
        for first in range(0, len(lengths_of_step), micro_batch):
            rows = lengths_of_step[first : first + micro_batch]
            mask_BT = (torch.arange(max(rows)) < torch.tensor(rows)[:, None]).long()
            ids_BT = torch.full_like(mask_BT, 20)
            model(ids_BT, attention_mask=mask_BT, labels=ids_BT.masked_fill(mask_BT == 0, -100)).loss.backward()
            model.zero_grad()
        return now() - started

    for number in range(4):
        step = lengths[number * STEP : (number + 1) * STEP][:64]
        ratios.append(seconds([step[n] for n in order_by_length(step, len(step))]) / seconds(step))
    ratio = statistics.median(ratios[1:])
    with capfd.disabled():
        print(f"\nforward and backward of a step by length: {ratio:.2f} x the time as drawn")
    assert ratio < 0.9
