"""Figure 2, as values per block of prompts for a table, and as rows of the summary."""

from typing import Any

import numpy as np
from scipy.special import stdtrit

from repro.diagnosis.files import TAIL, TAIL_SHARE
from repro.diagnosis.frequency import Frequencies
from repro.diagnosis.panel import LEVEL, plain
from repro.diagnosis.per_prompt import PerPromptValues


def block_values(task: str, frequencies: Frequencies, tail_k: int) -> list[PerPromptValues]:
    """Return the correlation of every curve as influence values per block, and the tail's share of the KL.

    There is no tail unless tail_k is below |V|.
    """
    blocks = tuple(f"block-{n:03d}" for n in range(len(frequencies.sums)))
    ones = np.ones(len(blocks))
    columns = dict(zip(frequencies.names, frequencies.influence().T))
    measures = [PerPromptValues(task, name, blocks, column, ones) for name, column in columns.items()]
    if tail_k in frequencies.ks[:-1]:
        share = frequencies.tail_share()[:, frequencies.ks.index(tail_k)]
        measures.append(PerPromptValues(task, TAIL, blocks, columns[f"beyond K={tail_k}"], ones))
        measures.append(PerPromptValues(task, TAIL_SHARE, blocks, share, frequencies.top_kl[:, -1]))
    return [measure for measure in measures if measure.is_usable]


def curve_rows(task: str, frequencies: Frequencies) -> list[dict[str, Any]]:
    """Return a row per curve: the rank correlation of frequency and contribution, with its interval.

    Rows of a tail (`beyond`) also have its share of the KL, with an interval over blocks.
    """
    J = len(frequencies.ks)
    ks = (*frequencies.ks, *frequencies.ks[:-1])
    rows = []
    for n, (k, interval, points) in enumerate(zip(ks, frequencies.intervals(LEVEL), frequencies.points())):
        row = {
            "task": task,
            "k": k,
            "beyond": n >= J,
            "whole_vocabulary": n == J - 1,
            "correlation": plain(interval.value),
            "low": plain(interval.low),
            "high": plain(interval.high),
            "tokens": int(points),
            "blocks": interval.prompts,
        }
        rows.append(row | (_share(frequencies, n - J) if n >= J else {}))
    return rows


def _share(frequencies: Frequencies, j: int) -> dict[str, float | str]:
    """Return the tail's share of the KL with its interval, by Student's t over the blocks, weighted by their KL."""
    share_N, weight_N = frequencies.tail_share()[:, j], frequencies.top_kl[:, -1]
    N, total = len(share_N), float(weight_N.sum())
    if total <= 0:
        return dict.fromkeys(("share", "share_low", "share_high"), "nan")
    mean = float((share_N * weight_N).sum() / total)
    se = float("nan")
    if N > 1:
        se = float(np.sqrt((weight_N**2 * (share_N - mean) ** 2).sum() * N / (N - 1)) / total)
    half = float(-stdtrit(max(N - 1, 1), (1 - LEVEL) / 2)) * se
    return {"share": plain(mean), "share_low": plain(mean - half), "share_high": plain(mean + half)}
