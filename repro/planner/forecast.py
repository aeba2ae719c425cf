"""Forecast of a study: seconds of each stage still to run, and when the last one ends."""

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
        stages: estimate per stage, on one core or GPU; zero if cached.
        wall: from the start of the first stage to the end of the last.
        workers: number of concurrent stages.
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
    """Forecast a study on this machine, else on the one its scale needs.

    Args:
        stages: all stages of the study, inputs first; cached: those that need not run.
        workers: maximum number of concurrent stages; None for as many as fit.
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
    """Turn a stage into a job: on several GPUs it is faster, by the ASSUMED efficiency of splitting."""
    gpus = layout.gpus if stage.workload.uses_gpu else 0
    return Job(
        stage.fingerprint,
        seconds / parallel_speed(gpus),
        tuple(needed.fingerprint for needed in stage.inputs()),
        gpus,
    )


def parallel_speed(gpus: int) -> float:
    """Return a stage's speedup on that many GPUs over a single one."""
    return max(1, gpus) * float(assumed("parallel efficiency")) ** (max(1, gpus).bit_length() - 1)
