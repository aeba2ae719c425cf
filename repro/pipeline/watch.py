"""What running stages report, watched: how fast each gets on, and whether it stands still."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repro.pipeline.remaining import RunningStage

STILL = 120.0
"""Seconds without progress from which a stage is said to stand still, at least."""
STILL_GAPS = 4.0
"""The same in its longest time between two reports so far."""


@dataclass
class _Watched:
    """A stage's reports. Times are seconds since its submission."""

    total: float
    first: float
    first_at: float
    last: float
    last_at: float
    longest_gap: float = 0.0


class StageWatch:
    """Progress of running stages, by name."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def observe(self, name: str, elapsed: float, report: Mapping[str, Any] | None) -> RunningStage:
        """Return what is known of a running stage.

        A report with another total is of the next part of the stage, whose progress begins again.

        Args:
            elapsed: seconds since its submission.
            report: its latest (`progress_file.read_progress`).
        """
        if not report or not report["total"]:
            return RunningStage(name, elapsed)
        total = float(report["total"])
        progress = min(1.0, report["done"] / total)
        watched = self._watched.get(name)
        if watched is None or watched.total != total or progress < watched.last:
            self._watched[name] = watched = _Watched(total, progress, elapsed, progress, elapsed)
        if progress > watched.last:
            watched.longest_gap = max(watched.longest_gap, elapsed - watched.last_at)
            watched.last, watched.last_at = progress, elapsed
        return RunningStage(name, elapsed, progress, progress - watched.first, self._seconds(watched, elapsed))

    @staticmethod
    def _seconds(watched: _Watched, elapsed: float) -> float:
        """Return the seconds of the observed progress: to the last report, or to now if the next one is overdue."""
        reported = watched.last_at - watched.first_at
        silent = elapsed - watched.last_at
        return reported + (silent if silent > watched.longest_gap else 0.0)

    def speed(self, name: str) -> float:
        """Return the units per second between a stage's first and last report; 0 before there are two.

        Loading, before the first report, is not part of it, nor is what a run before this one did.
        """
        watched = self._watched.get(name)
        if watched is None or watched.last_at <= watched.first_at:
            return 0.0
        return watched.total * (watched.last - watched.first) / (watched.last_at - watched.first_at)

    def standing_still(self, name: str, elapsed: float) -> float:
        """Return the seconds for which a stage has stood still; 0 if it gets on, or has not reported yet."""
        watched = self._watched.get(name)
        if watched is None or watched.last >= 1:
            return 0.0
        silent = elapsed - watched.last_at
        return silent if silent > max(STILL, STILL_GAPS * watched.longest_gap) else 0.0
