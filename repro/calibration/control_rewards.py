"""Rewards that replace r_cal and ignore the target: calibration without the paper's idea (docs/controls.md).

Each is one number per completion. Its z-score within the group gets r_cal's weight, eta (Algorithm 1), so all of them
have the same spread.
"""

from collections.abc import Sequence

import torch

from repro.calibration.config import CalibrationConfig

_STEP, _RANK = 1_000_003, 7_919  # primes, so that every step, rank and seed has a separate random stream


class ControlReward:
    """The second reward of a calibration whose `reward` is a control.

    null: standard normal noise, new at each step.
    style: 1 if the text contains `style_text`, else 0.
    length: tokens, including the end of turn.
    taste: the mean weight of the completion's tokens, where each id has a weight from N(0, 1): a fixed but meaningless
    preference.

    Args:
        config: names the reward.
        vocabulary: number of ids that the policy can sample.
        seed: seeds the noise and the weights. The trainer's random state is not touched.
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
            texts: the same completions, decoded without control tokens.
            step: optimiser steps before this one.
            rank: rank of this process.
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
