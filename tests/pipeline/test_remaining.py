"""The ETA of a study, replayed with a clock that only the test moves: stages of real durations, plans that err."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest

from repro.pipeline.cluster import Execution
from repro.pipeline.remaining import PlannedStage, RemainingTime, RunningStage, SteadyCountdown, describe_left
from repro.pipeline.run import remaining_time
from repro.pipeline.watch import STILL, StageWatch
from repro.planner.hours import estimate
from repro.planner.placement import Cards
from repro.planner.resources import resources_for
from repro.planner.schedule import Job, makespan
from repro.recipes.catalog import plan

_MEASURED = json.loads(Path(__file__).with_name("table2_seconds.json").read_text())
TABLE2 = [stage | {"seconds": seconds} for stage, seconds in zip(_MEASURED["stages"], _MEASURED["runs"][0]["seconds"])]
"""Stages of table2, one seed, on two cores: seconds by their records, kind, and the inputs by their number."""
TICK = 1.0


def planned(errors: dict[str, float]) -> list[PlannedStage]:
    """Return the plan of table2 whose seconds are too short or too long by a factor of each kind."""
    return [
        PlannedStage(
            Job(str(n), errors.get(stage["kind"], 1.0) * stage["seconds"], tuple(map(str, stage["needs"]))),
            stage["kind"],
        )
        for n, stage in enumerate(TABLE2)
    ]


def replay(
    plan: list[PlannedStage], truth: list[float], workers: int = 2, start: float = 0.3
) -> list[tuple[float, float]]:
    """Return (time, estimated seconds left) at each tick of a study whose stages take the true seconds.

    A stage reports a hundred times at even distances, after its start.
    """
    remaining, watch = RemainingTime(plan, workers), StageWatch()
    waiting, running, done, now = list(range(len(plan))), {}, set(), 0.0
    estimates = []
    while waiting or running:
        for n in [n for n in waiting if done.issuperset(map(int, plan[n].job.needs))]:
            if len(running) < workers:
                waiting.remove(n)
                running[n] = now
        observed = []
        for n, started in running.items():
            share = max(0.0, (now - started - start) / (truth[n] - start))
            report = {"done": int(100 * share), "total": 100} if share > 0 else None
            observed.append(watch.observe(str(n), now - started, report))
        estimates.append((now, remaining.seconds(observed)))
        now += TICK
        for n in [n for n, started in running.items() if now - started >= truth[n]]:
            remaining.finish(str(n), truth[n])
            del running[n]
            done.add(n)
    return [(time, left) for time, left in estimates] + [(now, 0.0)]


def worst_error(estimates: list[tuple[float, float]], *, beginning: float = 0.5) -> float:
    """Return the largest error of the time left, as a share of it, from a share of the study on.

    In the last twentieth a second is a large share of what is left: errors there count as shares of that twentieth.
    """
    end = estimates[-1][0]
    late = [(time, left) for time, left in estimates if beginning * end <= time < end]
    return max(abs(left - (end - time)) / max(end - time, end / 20) for time, left in late)


def noisy(generator: random.Random) -> list[float]:
    """Return true durations: of the records, each up to a tenth shorter or longer."""
    return [generator.uniform(0.9, 1.1) * stage["seconds"] for stage in TABLE2]


KINDS = sorted({stage["kind"] for stage in TABLE2})


@pytest.mark.parametrize("factor", [0.1, 0.3, 0.7, 1.0, 1.5, 3.0, 10.0])
def test_a_plan_that_errs_by_a_factor_is_corrected(factor):
    truth = noisy(random.Random(0))
    assert worst_error(replay(planned(dict.fromkeys(KINDS, factor)), truth)) < 0.25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [0.33, 3.0])
def test_one_kind_that_errs_is_corrected(kind, factor):
    truth = noisy(random.Random(1))
    assert worst_error(replay(planned({kind: factor}), truth)) < 0.25


@pytest.mark.parametrize("seed", range(20))
def test_kinds_that_err_each_by_another_factor_are_corrected(seed):
    generator = random.Random(seed)
    errors = {kind: 3 ** generator.uniform(-1, 1) for kind in KINDS}
    assert worst_error(replay(planned(errors), noisy(generator), workers=1 + seed % 3)) < 0.25


def test_without_what_has_run_the_plan_would_be_far_off():
    """The test can fail: the plan alone errs by its factor."""
    plan, truth = planned(dict.fromkeys(KINDS, 0.3)), noisy(random.Random(0))
    by_plan = makespan([stage.job for stage in plan], 2)
    end = replay(plan, truth)[-1][0]
    assert (end - by_plan) / end > 0.6


def test_a_stage_that_stands_still_moves_the_end_away():
    remaining = RemainingTime([PlannedStage(Job("a", 100.0), "sft")], 1)
    watch = StageWatch()
    for second in range(0, 51):
        stage = watch.observe("a", second, {"done": second, "total": 100})
    before = remaining.seconds([stage])
    assert before == pytest.approx(50, rel=0.02)
    assert watch.standing_still("a", 50) == 0
    report = {"done": 50, "total": 100}
    after = [remaining.seconds([watch.observe("a", second, report)]) for second in (60, 120, 300)]
    assert before < after[0] < after[1] < after[2]
    assert watch.standing_still("a", 50 + STILL) == 0
    assert watch.standing_still("a", 300) == 250


def test_a_stage_that_never_reports_is_never_about_to_end():
    remaining = RemainingTime([PlannedStage(Job("a", 10.0), "diagnose")], 1)
    left = [remaining.seconds([RunningStage("a", elapsed)]) for elapsed in (0, 5, 20, 200)]
    assert left[:2] == [10, 5]
    assert left[2] >= 2
    assert left[3] >= 20


def test_a_resumed_stage_is_judged_by_what_was_watched():
    watch = StageWatch()
    remaining = RemainingTime([PlannedStage(Job("a", 1000.0), "gkd-rkl")], 1)
    for second in range(5, 106):
        stage = watch.observe("a", second, {"done": 600 + second, "total": 1000})
    assert remaining.seconds([stage]) == pytest.approx(295, rel=0.15)


def test_the_next_part_of_a_stage_begins_again():
    watch = StageWatch()
    watch.observe("a", 1, {"done": 0, "total": 10})
    watch.observe("a", 11, {"done": 10, "total": 10})
    assert watch.observe("a", 12, {"done": 1, "total": 300}).observed == 0


def test_the_countdown_neither_flickers_nor_lags():
    """Estimates that jump by a tenth around the truth: the text goes up at most a few times."""
    generator, countdown, shown = random.Random(0), SteadyCountdown(), []
    for tick in range(600):
        left = 600 - tick
        shown.append(countdown.update(float(tick), left * (generator.uniform(0.9, 1.1) if tick else 1)))
    numbers = [int(text.split()[1]) * (60 if "min" in text else 1) for text in shown if text.startswith("about")]
    assert sum(after > before for before, after in pairwise(numbers)) <= 3
    changes = sum(before != after for before, after in pairwise(shown))
    assert changes <= 25
    assert shown[0] == "about 10 min left"
    assert shown[-1] == "a few seconds left"
    assert all(abs(number - (600 - tick)) <= 0.1 * (600 - tick) + 60 for tick, number in enumerate(numbers))


def test_the_countdown_follows_a_new_estimate():
    countdown = SteadyCountdown()
    countdown.update(0.0, 60.0)
    text = ""
    for tick in range(1, 60):
        text = countdown.update(float(tick), 660.0 - tick)
    assert text in ("about 10 min left", "about 11 min left")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "a few seconds left"), (40, "about 40 s left"), (240, "about 4 min left"), (9000, "about 2.5 h left")],
)
def test_remaining_time_in_words(seconds, text):
    assert describe_left(seconds) == text


def test_a_run_plans_what_is_not_cached_on_the_gpus_that_it_gets(tmp_path, monkeypatch):
    small = plan("table2", scale="small", seeds=1).stages()
    monkeypatch.setattr("repro.pipeline.run.visible_cards", lambda: Cards(2, 78.0))
    (tmp_path / "cache" / small[0].folder_name).mkdir(parents=True)
    (tmp_path / "cache" / small[0].folder_name / "record.json").write_text("{}")
    two = remaining_time(small, tmp_path, Execution(resources_for("small"), workers=2))
    alone = remaining_time(small, tmp_path, Execution(resources_for("small"), workers=2, backend="none"))
    expected = sum(estimate(stage, "small").seconds for stage in small[1:])
    assert alone.seconds([]) == pytest.approx(expected)
    assert expected / 2 <= two.seconds([]) < 0.8 * expected
    slurm = remaining_time(small, tmp_path, Execution(resources_for("small"), workers=256, backend="slurm"))
    assert slurm.seconds([]) < two.seconds([])
