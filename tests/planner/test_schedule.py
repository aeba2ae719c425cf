"""When a study ends: jobs on workers and GPUs, in the pipeline's order."""

import pytest

from repro.planner.schedule import Job, makespan

CHAIN = [Job("a", 3.0), Job("b", 2.0, ("a",)), Job("c", 4.0), Job("d", 1.0, ("b", "c"))]


@pytest.mark.parametrize(("workers", "seconds"), [(1, 10.0), (2, 6.0), (3, 6.0)])
def test_jobs_wait_for_what_they_need(workers, seconds):
    assert makespan(CHAIN, workers) == seconds


def test_nothing_takes_no_time():
    assert makespan([], 2) == 0


def test_needs_that_are_not_listed_have_ended():
    assert makespan([Job("b", 2.0, ("a",))], 1) == 2


def test_running_jobs_hold_their_workers():
    running = [(Job("r", 9.0), 5.0)]
    assert makespan([Job("a", 3.0)], 1, running=running) == 8
    assert makespan([Job("a", 3.0)], 2, running=running) == 5
    assert makespan([Job("a", 3.0, ("r",))], 2, running=running) == 8


def test_a_job_that_waits_for_gpus_is_not_overtaken():
    jobs = [Job("small", 2.0, gpus=1), Job("large", 3.0, gpus=2), Job("later", 1.0, gpus=1)]
    assert makespan(jobs, 8, gpus=2) == 2 + 3 + 1
    assert makespan(jobs, 8, gpus=4) == 3


def test_a_job_larger_than_the_machine_runs_alone():
    assert makespan([Job("a", 1.0, gpus=1), Job("b", 2.0, gpus=8)], 8, gpus=2) == 3
