"""Simulate the pipeline's order on workers and GPUs to find when a study ends."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One stage. seconds: on its GPUs; needs: names of the jobs it waits for; gpus: 0 if it uses none."""

    name: str
    seconds: float
    needs: tuple[str, ...] = ()
    gpus: int = 0


def makespan(
    waiting: Sequence[Job],
    workers: int,
    gpus: int = 0,
    *,
    running: Mapping[Job, float] | Iterable[tuple[Job, float]] = (),
) -> float:
    """Return the seconds until all jobs have ended, started in the pipeline's order (`pipeline.engine.run_stages`).

    Jobs start in order once their inputs are done; a job waiting for GPUs is not overtaken.

    Args:
        waiting: inputs first. Dependencies that are not listed count as done.
        workers: number of concurrent jobs.
        gpus: number of GPUs of the machine.
        running: jobs with their remaining seconds.
    """
    started = list(running.items() if isinstance(running, Mapping) else running)
    left = list(waiting)
    unfinished = {job.name for job in left} | {job.name for job, _ in started}
    ends = [(seconds, job.name, job.gpus) for job, seconds in started]
    heapq.heapify(ends)
    free, now = gpus - sum(job.gpus for job, _ in started), 0.0
    while left or ends:
        for job in [job for job in left if unfinished.isdisjoint(job.needs)]:
            if len(ends) >= workers or (job.gpus > free and ends):
                break
            left.remove(job)
            free -= job.gpus
            heapq.heappush(ends, (now + job.seconds, job.name, job.gpus))
        now, name, released = heapq.heappop(ends)
        unfinished.discard(name)
        free += released
    return now
