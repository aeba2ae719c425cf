"""Watch the reports of running stages: how fast each one advances, and whether it has stalled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repro.pipeline.remaining import RunningStage

STILL = 120.0
"""Minimum seconds without progress before a stage counts as stalled."""
STILL_GAPS = 4.0
"""The same, as a multiple of the stage's longest gap between two reports so far."""


@dataclass
class _Watched:
    """A stage's reports. Times are seconds since submission."""

    total: float
    first: float
    first_at: float
    last: float
    last_at: float
    longest_gap: float = 0.0


class StageWatch:
    """Tracks the progress of running stages by name."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def observe(self, name: str, elapsed: float, report: Mapping[str, Any] | None) -> RunningStage:
        """Return what is known about a running stage.

        A report with a different total belongs to the next part of the stage: progress starts over.

        Args:
            elapsed: seconds since its submission.
            report: its latest report (`progress_file.read_progress`).
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
        """Return the seconds of observed progress: up to the last report, or up to now if the next one is overdue."""
        reported = watched.last_at - watched.first_at
        silent = elapsed - watched.last_at
        return reported + (silent if silent > watched.longest_gap else 0.0)

    def speed(self, name: str) -> float:
        """Return units per second between a stage's first and last report; 0 until there are two.

        This excludes loading (before the first report) and work done by an earlier run.
        """
        watched = self._watched.get(name)
        if watched is None or watched.last_at <= watched.first_at:
            return 0.0
        return watched.total * (watched.last - watched.first) / (watched.last_at - watched.first_at)

    def standing_still(self, name: str, elapsed: float) -> float:
        """Return how many seconds a stage has been stalled; 0 if it is advancing or has not reported yet."""
        watched = self._watched.get(name)
        if watched is None or watched.last >= 1:
            return 0.0
        silent = elapsed - watched.last_at
        return silent if silent > max(STILL, STILL_GAPS * watched.longest_gap) else 0.0
