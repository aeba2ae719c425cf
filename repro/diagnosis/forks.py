"""Forking tokens of a task (`traps.forking_share`), whose threshold is known only when all of its tokens were seen.

Entropy and KL of each token wait in a file without a name, 8 bytes a token, and the threshold is found by counting:
memory is that of one completion, however many there are.
"""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

_READ = 2**16
"""Numbers in memory at a time."""


class ForkingTokens:
    """Entropies and KLs of a task's completions, one after another.

    Args:
        folder: on whose disk they wait.
    """

    def __init__(self, folder: Path) -> None:
        self._entropy, self._kl = (tempfile.TemporaryFile(dir=folder) for _ in range(2))  # noqa: SIM115 (closed below)
        self._lengths: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._entropy.close()
        self._kl.close()

    def add(self, entropy_T: torch.Tensor, kl_T: torch.Tensor) -> None:
        """The tokens of one completion: float32, nats.

        Raises:
            ValueError: NaN or infinity.
        """
        if not bool(torch.isfinite(entropy_T).all() and torch.isfinite(kl_T).all()):
            raise ValueError("entropy or KL holds NaN or infinity")
        self._entropy.write(entropy_T.numpy().tobytes())
        self._kl.write(kl_T.numpy().tobytes())
        self._lengths.append(len(entropy_T))

    def threshold(self, quantile: float) -> float:
        """The entropy that forking tokens exceed: the very number that `traps.forking_share` finds in all of them at once.

        The k-th smallest by its bits: first which upper half it has, then which lower half among those.
        """
        rank = max(1, math.ceil(quantile * sum(self._lengths) - 1e-9))
        high, rank = _bin(rank, (key >> 16 for key in self._keys()))
        low, _ = _bin(rank, (key[key >> 16 == high] & _LOWER for key in self._keys()))
        return float(_number(high << 16 | low))

    def of_each(self, threshold: float) -> Iterator[tuple[int, float]]:
        """Of each completion, in order: its forking tokens, and the KL summed over them in float64."""
        self._entropy.seek(0)
        self._kl.seek(0)
        for length in self._lengths:
            entropy_T, kl_T = (_floats(file, length) for file in (self._entropy, self._kl))
            forks_T = entropy_T > threshold
            yield int(forks_T.sum()), float(kl_T[forks_T].double().sum())

    def _keys(self) -> Iterator[NDArray[np.uint32]]:
        """The entropies' bits, turned so that they sort as the numbers do."""
        self._entropy.seek(0)
        while data := self._entropy.read(4 * _READ):
            bits = np.frombuffer(data, dtype=np.uint32)
            yield np.where(bits >> 31, ~bits, bits | _SIGN)


_SIGN, _LOWER = np.uint32(1 << 31), np.uint32(0xFFFF)


def _number(key: int) -> np.float32:
    bits = np.uint32(key)
    return np.float32((bits & ~_SIGN if bits >> 31 else ~bits).view(np.float32))


def _bin(rank: int, pieces: Iterator[NDArray[Any]]) -> tuple[int, int]:
    """Which of 2**16 values the rank-th smallest is, and its rank among its equals."""
    counts = sum((np.bincount(piece, minlength=2**16) for piece in pieces), np.zeros(2**16, dtype=np.int64))
    upto = np.cumsum(counts)
    value = int(np.searchsorted(upto, rank))
    return value, rank - int(upto[value] - counts[value])


def _floats(file: IO[bytes], length: int) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(file.read(4 * length), dtype=np.float32).copy())
