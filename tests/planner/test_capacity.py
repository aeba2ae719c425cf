"""Schedules of stages on GPUs: bounds that hold for any schedule, and cases small enough to check by hand."""

import functools
from dataclasses import replace
from pathlib import Path

import pytest
from capacity import RANKS, Job, all_stages, best, capacity_tables, jobs, longest_chain, schedule

DIAMOND = {
    "a": Job(1, 2.0, ()),
    "b": Job(1, 3.0, ("a",)),
    "c": Job(2, 4.0, ("a",)),
    "d": Job(1, 1.0, ("b", "c")),
}


@pytest.mark.parametrize(("gpus", "hours"), [(2, 2 + 4 + 3 + 1), (3, 2 + 4 + 1), (1000, 2 + 4 + 1)])
def test_a_schedule_checked_by_hand(gpus, hours):
    """On two GPUs the job of two blocks the other; on three they run side by side."""
    assert schedule(DIAMOND, gpus) == (hours, 7.0)
    assert longest_chain(DIAMOND) == ["a", "c", "d"]


@functools.cache
def stages_of(seeds):
    return all_stages(seeds)


@functools.cache
def jobs_of(seeds, ranks):
    return jobs(stages_of(seeds), ranks)


@pytest.mark.parametrize("gpus", [1, 3, 8, 10, 100, 1000])
def test_no_schedule_beats_its_bounds(gpus):
    """Never faster than the longest chain or than all GPUs busy; list scheduling of jobs of one GPU within twice that."""
    work = {name: replace(job, gpus=1) for name, job in jobs_of(2, 1).items()}
    hours, longest = schedule(work, gpus)
    total = sum(job.hours * job.gpus for job in work.values())
    bound = max(longest, total / gpus)
    assert bound * (1 - 1e-9) <= hours <= 2 * bound
    if gpus == 1:
        assert hours == pytest.approx(total)


def test_a_stage_that_one_gpu_does_not_hold_gets_more():
    """No schedule beats the hours of eight busy GPUs; a stage gets at least its ranks."""
    work = jobs_of(1, 1)
    wanted = {stage.label: work[stage.fingerprint].gpus for stage in stages_of(1)}
    assert {job.gpus for job in work.values()} == {1, 2, 4}
    assert wanted["sample Qwen/Qwen3-32B"] == 2
    hours, longest = schedule(work, 8)
    assert hours >= max(longest, sum(job.hours * job.gpus for job in work.values()) / 8)
    assert {job.gpus for job in jobs_of(1, 8).values()} == {1, 8}


def test_more_gpus_never_take_longer_and_saturate():
    work_by_ranks = {ranks: jobs_of(1, ranks) for ranks in RANKS}
    schedules = [best(work_by_ranks, gpus) for gpus in (8, 100, 1000, 2000)]
    hours = [planned.hours for planned in schedules]
    assert hours == sorted(hours, reverse=True)
    assert hours[2] == pytest.approx(schedules[3].longest)
    assert hours[3] == hours[2]


def test_the_page_is_what_the_command_writes():
    assert capacity_tables() in (Path(__file__).parents[2] / "docs" / "scale.md").read_text(), (
        "studies or costs have changed: run python benchmarks/capacity.py docs/scale.md"
    )
