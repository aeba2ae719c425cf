"""How long a study still takes: its plan, corrected by what has run.

The plan gives each stage its seconds (`planner.hours`). Finished stages, and running ones in proportion to their progress,
say by what factor each kind of stage differs from its plan; a kind that has not run is taken to differ as all stages
together do. The schedule of what is left (`planner.schedule`) then gives the end of the study.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from repro.planner.schedule import Job, makespan

PRIOR = 0.1
"""Weight of the study's factor in that of a kind, in stages of that kind."""
TRUSTED_PROGRESS = 0.25
"""Observed progress from which on a running stage is judged by it alone, below in part by its plan."""
SAVING = 0.02
"""Share of a stage that is left when all of its progress is reported."""
OVERDUE = 1.1
"""A stage without progress that has exceeded its plan is taken to need a tenth more than it has had."""
SETTLING = 0.05
"""Share of the remaining time in which the shown end follows the estimate."""
MOST_SETTLING = 15.0
"""The same in seconds, at most."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage of the plan. job: its seconds on its GPUs; kind: stages whose plan errs alike."""

    job: Job
    kind: str


@dataclass(frozen=True)
class RunningStage:
    """A stage that runs.

    Attributes:
        elapsed: seconds since its submission.
        progress: from 0 (nothing known) to 1.
        observed: progress made while it was watched: less, where it resumed from a checkpoint.
        watched: seconds in which that progress was made.
    """

    name: str
    elapsed: float
    progress: float = 0.0
    observed: float = 0.0
    watched: float = 0.0

    @property
    def trust(self) -> float:
        """From 0 to 1: how far the stage is judged by its own progress instead of its plan."""
        return min(1.0, self.observed / TRUSTED_PROGRESS)

    @property
    def full_seconds(self) -> float:
        """Seconds of all of the stage at the observed speed, without its start."""
        return self.watched / self.observed


class RemainingTime:
    """Estimate of the seconds that a study still takes.

    Args:
        plan: stages that this run has to run, inputs first.
        workers: stages at a time.
        gpus: of the machine.
    """

    def __init__(self, plan: Sequence[PlannedStage], workers: int, gpus: int = 0) -> None:
        self._plan = {stage.job.name: stage for stage in plan}
        self._workers, self._gpus = workers, gpus
        self._measured: dict[str, float] = {}

    def finish(self, name: str, seconds: float) -> None:
        """Note what a stage took."""
        if name in self._plan:
            self._measured[name] = seconds

    def drop(self, name: str) -> None:
        """Forget a stage that is not going to be run."""
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
        """Return by what factor the stages of each kind differ from their plan."""
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
    """Text of a remaining time that neither flickers nor lags: the end follows the estimate in a few seconds."""

    def __init__(self) -> None:
        self._end: float | None = None
        self._updated = 0.0
        self._rounded = 0.0

    def update(self, now: float, seconds: float) -> str:
        """Return the text for a new estimate.

        Args:
            now: by a clock that never goes back, seconds.
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
    """Return the unit that a remaining time is rounded to."""
    return next(
        step for limit, step in ((90, 10.0), (5400, 60.0), (36_000, 1800.0), (math.inf, 3600.0)) if seconds < limit
    )


def round_seconds(seconds: float) -> float:
    """Round to tens of seconds, minutes, halves of an hour or hours."""
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
