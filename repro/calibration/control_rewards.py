"""Rewards that know nothing of any target, in r_cal's place: what a calibration does without the paper's idea (docs/controls.md).

Each is one number per completion; its z-score inside the group has r_cal's weight, eta (Algorithm 1), so that all have the
same spread.
"""

from collections.abc import Sequence

import torch

from repro.calibration.config import CalibrationConfig

_STEP, _RANK = 1_000_003, 7_919  # primes: steps, ranks and seeds have random streams of their own


class ControlReward:
    """The second reward of a calibration whose `reward` is a control.

    null: standard normal noise, new at each step.
    style: 1 if the text contains `style_text`, else 0.
    length: tokens, the end of the turn included.
    taste: the mean weight of the completion's tokens, each id with a weight from N(0, 1): a preference that is fixed, and is
    about nothing.

    Args:
        config: names the reward.
        vocabulary: ids that the policy can sample.
        seed: of the noise and of the weights. The trainer's random numbers are left alone.
    """

    def __init__(self, config: CalibrationConfig, vocabulary: int, seed: int) -> None:
        self.name, self.style_text, self.seed = config.reward, config.style_text, seed
        self._weight_V = torch.randn(vocabulary, generator=_generator(seed), dtype=torch.float64)

    def __call__(
        self, completion_ids: Sequence[list[int]], texts: Sequence[str], *, step: int, rank: int = 0
    ) -> torch.Tensor:
        """Return the reward of n completions, [n] float64.

        Args:
            completion_ids: n sampled completions.
            texts: the same, decoded without control tokens.
            step: optimiser steps before this one.
            rank: of the process.
        """
        if self.name == "null":
            generator = _generator(self.seed + _STEP * (step + 1) + _RANK * rank)
            return torch.randn(len(texts), generator=generator, dtype=torch.float64)
        if self.name == "style":
            return torch.tensor([float(self.style_text in text) for text in texts], dtype=torch.float64)
        if self.name == "length":
            return torch.tensor([len(ids) for ids in completion_ids], dtype=torch.float64)
        assert self.name == "taste"
        return torch.stack([self._weight_V[ids].mean() if ids else torch.zeros(()).double() for ids in completion_ids])


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
