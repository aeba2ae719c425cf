"""Estimate how long a study will still take: its plan, corrected by what has already run.

The plan assigns seconds to each stage (`planner.hours`). Finished stages, and running ones in proportion to their
progress, give a correction factor per kind of stage; a kind that has not run yet gets the factor of the whole study.
Scheduling what is left (`planner.schedule`) then gives the end of the study.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from repro.planner.schedule import Job, makespan

PRIOR = 0.1
"""Weight of the study's factor as a prior for a kind's, in units of stages of that kind."""
TRUSTED_PROGRESS = 0.25
"""Observed progress above which a running stage is extrapolated from it alone; below, the plan has some weight."""
SAVING = 0.02
"""Share of a stage that remains after it has reported full progress."""
OVERDUE = 1.1
"""A stage that has exceeded its plan without reporting progress is assumed to need a tenth more than it has used."""
SETTLING = 0.05
"""Time constant with which the displayed end follows the estimate, as a share of the remaining time."""
MOST_SETTLING = 15.0
"""Upper bound on that, in seconds."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage of the plan. job: seconds and GPUs; kind: stages whose plans are off by a common factor."""

    job: Job
    kind: str


@dataclass(frozen=True)
class RunningStage:
    """A running stage.

    Attributes:
        elapsed: seconds since its submission.
        progress: from 0 (nothing known) to 1.
        observed: progress made while it was watched; less than `progress` if it resumed from a checkpoint.
        watched: seconds over which that progress was made.
    """

    name: str
    elapsed: float
    progress: float = 0.0
    observed: float = 0.0
    watched: float = 0.0

    @property
    def trust(self) -> float:
        """Weight of the stage's own progress against its plan, from 0 to 1."""
        return min(1.0, self.observed / TRUSTED_PROGRESS)

    @property
    def full_seconds(self) -> float:
        """Seconds for the whole stage at the observed speed, excluding startup."""
        return self.watched / self.observed


class RemainingTime:
    """Estimates how many seconds a study will still take.

    Args:
        plan: the stages to run, inputs first.
        workers: number of concurrent stages.
        gpus: number of GPUs of the machine.
    """

    def __init__(self, plan: Sequence[PlannedStage], workers: int, gpus: int = 0) -> None:
        self._plan = {stage.job.name: stage for stage in plan}
        self._workers, self._gpus = workers, gpus
        self._measured: dict[str, float] = {}

    def finish(self, name: str, seconds: float) -> None:
        """Record how long a stage took."""
        if name in self._plan:
            self._measured[name] = seconds

    def drop(self, name: str) -> None:
        """Forget a stage that will not run."""
        self._plan.pop(name, None)

    def seconds(self, running: Sequence[RunningStage]) -> float:
        """Return the seconds until the last stage ends."""
        stages = [stage for stage in running if stage.name in self._plan]
        factors = self._factors(stages)
        started = {stage.name for stage in stages}
        waiting = [
            replace(stage.job, seconds=factors[stage.kind] * stage.job.seconds)
            for name, stage in self._plan.items()
            if name not in started and name not in self._measured
        ]
        remaining = [(self._plan[stage.name].job, self._left(stage, factors)) for stage in stages]
        return makespan(waiting, self._workers, self._gpus, running=remaining)

    def _left(self, stage: RunningStage, factors: Mapping[str, float]) -> float:
        planned = self._plan[stage.name]
        by_plan = factors[planned.kind] * planned.job.seconds
        if not stage.progress:
            return max(by_plan, OVERDUE * stage.elapsed) - stage.elapsed
        to_do = max(1 - stage.progress, SAVING)
        if not stage.observed:
            return to_do * by_plan
        return to_do * (stage.trust * stage.full_seconds + (1 - stage.trust) * by_plan)

    def _factors(self, running: Sequence[RunningStage]) -> dict[str, float]:
        """Return, for each kind of stage, the ratio of actual to planned time."""
        evidence = [(self._plan[name], seconds, 1.0) for name, seconds in self._measured.items()]
        for stage in running:
            planned = self._plan[stage.name]
            if stage.observed:
                evidence.append((planned, stage.trust * stage.full_seconds, stage.trust))
            elif stage.elapsed > planned.job.seconds:
                evidence.append((planned, stage.elapsed, 1.0))
        taken = sum(seconds for _, seconds, _ in evidence)
        expected = sum(weight * planned.job.seconds for planned, _, weight in evidence)
        of_all = taken / expected if expected and taken else 1.0
        factors = {}
        for kind in {planned.kind for planned in self._plan.values()}:
            of_kind = [part for part in evidence if part[0].kind == kind]
            mean = sum(p.job.seconds for p, _, _ in of_kind) / len(of_kind) if of_kind else 1.0
            factors[kind] = (sum(s for _, s, _ in of_kind) + PRIOR * of_all * mean) / (
                sum(w * p.job.seconds for p, _, w in of_kind) + PRIOR * mean
            )
        return factors


class SteadyCountdown:
    """Text for the remaining time that neither flickers nor lags: it follows the estimate within seconds."""

    def __init__(self) -> None:
        self._end: float | None = None
        self._updated = 0.0
        self._rounded = 0.0

    def update(self, now: float, seconds: float) -> str:
        """Return the text for a new estimate.

        Args:
            now: seconds, from a monotonic clock.
        """
        end = now + seconds
        if self._end is None:
            self._end, self._rounded = end, round_seconds(seconds)
        else:
            settling = min(MOST_SETTLING, max(1.0, SETTLING * seconds))
            self._end += (end - self._end) * (1 - math.exp(-(now - self._updated) / settling))
        self._updated = now
        left = max(0.0, self._end - now)
        if abs(left - self._rounded) > 0.6 * _step(max(left, self._rounded)):
            self._rounded = round_seconds(left)
        return describe_left(self._rounded)


def _step(seconds: float) -> float:
    """Return the unit to round a remaining time to."""
    return next(
        step for limit, step in ((90, 10.0), (5400, 60.0), (36_000, 1800.0), (math.inf, 3600.0)) if seconds < limit
    )


def round_seconds(seconds: float) -> float:
    """Round to tens of seconds, minutes, half hours or hours."""
    step = _step(seconds)
    return step * round(seconds / step)


def describe_left(seconds: float) -> str:
    """Return "about 4 min left" for rounded seconds."""
    if seconds < 10:
        return "a few seconds left"
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:g} h left"
