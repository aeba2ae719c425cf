"""When a study ends: a simulation of the pipeline's order on workers and GPUs."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One stage. seconds: on its GPUs; needs: names of the jobs that must have ended; gpus: 0 if it uses none."""

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

    Jobs start in order as soon as what they need has ended; one that waits for GPUs is not overtaken.

    Args:
        waiting: inputs first. What they need and is not listed has ended.
        workers: jobs at a time.
        gpus: of the machine.
        running: jobs with the seconds that each still takes.
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
