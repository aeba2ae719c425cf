"""Forecast of a study: seconds of each stage that has to run, and when the last one ends."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro.planner.corrections import Corrections, Estimate
from repro.planner.fit import placements
from repro.planner.hours import estimate
from repro.planner.resources import Layout, Resources
from repro.planner.scales import REQUIREMENTS, fits, workers_for
from repro.planner.schedule import Job, makespan
from repro.recipes.assumed import assumed
from repro.recipes.study import Study
from repro.stages import Stage
from repro.system.hardware import hardware

NOTHING = Estimate(0.0, 0.0, 0.0)
NO_GPU = Layout(ranks=0)


@dataclass(frozen=True)
class Forecast:
    """Forecast of a study.

    Attributes:
        stages: of each stage, on one core or GPU; zero for a cached one.
        wall: until the last stage has ended, from the start of the first.
        workers: stages side by side.
    """

    stages: tuple[Estimate, ...]
    wall: Estimate
    workers: int

    @property
    def total(self) -> Estimate:
        """Seconds of all stages on one core or GPU."""
        return Estimate(
            sum(stage.seconds for stage in self.stages),
            sum(stage.low for stage in self.stages),
            sum(stage.high for stage in self.stages),
        )


def forecast(
    study: Study,
    stages: Sequence[Stage],
    cached: Sequence[bool],
    corrections: Corrections,
    resources: Resources,
    workers: int | None = None,
) -> Forecast:
    """Return the forecast of a study on this machine, else on the one that its scale needs.

    Args:
        stages: of the study, inputs first; cached: those that need not run.
        workers: stages side by side, at most; None for as many as fit.
    """
    estimates = [NOTHING if hit else estimate(stage, study.scale, corrections) for stage, hit in zip(stages, cached)]
    placed = placements(study, list(stages), resources)
    layouts = [placement.layout for placement in placed] if placed else [NO_GPU] * len(stages)
    machine, required = hardware(), REQUIREMENTS[study.scale]
    is_here = fits(study.scale, machine)
    gpus = len(machine["gpus"]) if is_here else required.gpus
    if workers is None:
        workers = workers_for(study.scale, machine, resources.ranks) if is_here else required.workers
    to_run = [n for n, hit in enumerate(cached) if not hit]

    def wall(seconds: Sequence[float]) -> float:
        jobs = [_job(stages[n], seconds[n], layouts[n]) for n in to_run]
        return makespan(jobs, workers, gpus)

    return Forecast(
        tuple(estimates),
        Estimate(
            wall([stage.seconds for stage in estimates]),
            wall([stage.low for stage in estimates]),
            wall([stage.high for stage in estimates]),
        ),
        workers,
    )


def _job(stage: Stage, seconds: float, layout: Layout) -> Job:
    """Return a stage as a job: on several GPUs it is faster, by the ASSUMED efficiency of splitting."""
    gpus = layout.gpus if stage.workload.uses_gpu else 0
    return Job(
        stage.fingerprint,
        seconds / parallel_speed(gpus),
        tuple(needed.fingerprint for needed in stage.inputs()),
        gpus,
    )


def parallel_speed(gpus: int) -> float:
    """Return how many times faster a stage is on that many GPUs than on one."""
    return max(1, gpus) * float(assumed("parallel efficiency")) ** (max(1, gpus).bit_length() - 1)
