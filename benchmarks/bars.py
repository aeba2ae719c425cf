"""Bars of speed: a proved one that is missed fails; one that no such device has reached yet is a wish, and says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from contenders import Contender


@dataclass(frozen=True)
class Bar:
    """A bound on a ratio.

    Attributes:
        text: what is bounded, as it is printed.
        limit: the bound.
        at_least: a lower bound; else an upper one.
        proved: kinds of device ("cpu", "cuda") on which it was reached and is now held; elsewhere it is a wish.
        only: kinds of device for which it means anything; None for all.
    """

    text: str
    limit: float
    at_least: bool = False
    proved: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    def judge(self, ratio: float, capfd: Any) -> None:
        """Print the ratio beside the bar; fail where a proved bar is missed, and name a wish that is missed as such."""
        kind = device_kind()
        reached = ratio >= self.limit if self.at_least else ratio <= self.limit
        line = f"{self.text}: {ratio:.2f}, bar {'at least' if self.at_least else 'at most'} {self.limit:g}"
        if self.only is not None and kind not in self.only:
            return say(f"NO BAR ON THIS DEVICE  {line}", capfd)
        if kind in self.proved:
            say(f"{'reached' if reached else 'MISSED'}  {line}", capfd)
            assert reached, line
        elif reached:
            say(f"WISH, REACHED  {line}: add {kind!r} to its `proved`", capfd)
        else:
            say(f"WISH, NOT REACHED  {line}", capfd)
            pytest.xfail(f"a wish, not reached on this device: {line}")


def device_kind() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """Return the GPU's name, or "cpu"."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def say(text: str, capfd: Any) -> None:
    """Print past pytest's capture."""
    with capfd.disabled():
        print(f"\n{text}")


def table(
    title: str, contenders: Mapping[str, float], base: str, shape: dict[str, Any], capfd: Any, *runs: Contender
) -> None:
    """Print seconds a step, tokens a second, and multiples of `base`; and the memory of the processes that ran."""
    tokens = shape["sequences"] * shape["tokens"]
    size = f", {shape['micro_batch']} in a forward" if shape["micro_batch"] else ""
    lines = [f"{title}: {shape['sequences']} sequences x {shape['tokens']} tokens{size}, {device_name()}"]
    lines += ["| | s a step | tokens/s | x |", "|---|---|---|---|"]
    for name, seconds in contenders.items():
        lines.append(f"| {name} | {seconds:.3f} | {tokens / seconds:,.0f} | {seconds / contenders[base]:.2f} |")
    for run in runs:
        gpu = f", {run.peak_gib:.1f} GiB of torch, {run.used_gib:.1f} GiB of the GPU in use" if run.peak_gib else ""
        lines.append(f"{run.name}: peak {run.peak_mib:,.0f} MiB of host memory{gpu}")
    say("\n".join(lines), capfd)
