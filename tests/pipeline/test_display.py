"""What a run shows of its stages and of the time that is left."""

import json
import re
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from repro.errors import StageError
from repro.pipeline.display import Display
from repro.pipeline.engine import Failure
from repro.pipeline.progress_file import progress_path
from repro.pipeline.remaining import PlannedStage, RemainingTime
from repro.pipeline.submission import Running
from repro.planner.schedule import Job
from repro.recipes.catalog import plan


class FakeClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stages():
    return plan("table2", scale="toy", seeds=1).stages()[:3]


@pytest.fixture
def clock():
    return FakeClock()


def display_of(stages, cache, clock, *, terminal=False, quiet=False, width=150):
    text = StringIO()
    console = Console(file=text, width=width, force_terminal=terminal)
    planned = [PlannedStage(Job(stage.fingerprint, 100.0), stage.procedure) for stage in stages]
    return Display(console, cache, RemainingTime(planned, 1), quiet=quiet, clock=clock), text


def report(cache, stage, done, total=100, note=""):
    path = progress_path(cache, stage)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"done": done, "total": total, "unit": "steps", "note": note}))


def running(stage, clock):
    return Running(stage, SimpleNamespace(), clock.now)


def test_a_log_line_says_what_a_stage_took_and_what_is_left(stages, tmp_path, clock):
    display, text = display_of(stages, tmp_path, clock)
    with display:
        display([], [first := running(stages[0], clock)], stages[1:])
        for _ in range(50):
            clock.now += 1
            display([], [first], stages[1:])
        display(stages[:1], [running(stages[1], clock)], stages[2:])
    lines = [line for line in text.getvalue().splitlines() if not re.search("starting|all stages", line)]
    assert lines[0] == "3 stages, 0 cached, 3 to run"
    assert lines[1].startswith(f"[  1/3] {stages[0].label} (seed 0): 50 s, about ")
    assert lines[1].endswith("min left")


def test_a_log_says_how_far_a_stage_is_ever_more_rarely(stages, tmp_path, clock):
    display, text = display_of(stages, tmp_path, clock)
    with display:
        display([], [first := running(stages[0], clock)], stages[1:])
        for second in range(1, 1000):
            clock.now += 1
            report(tmp_path, stages[0], second, total=5000)
            display([], [first], stages[1:])
        lines = [line for line in text.getvalue().splitlines() if " of 5000 steps" in line]
        assert [int(line.split(" of 5000")[0].split()[-1]) for line in lines] == [30, 90, 210, 450, 930]
        assert lines[0] == f"{stages[0].label} (seed 0): 30 of 5000 steps"
        for _ in range(31):
            clock.now += 1
            display(stages[:1], [running(stages[1], clock)], stages[2:])
    last = text.getvalue().splitlines()[-2:]
    assert last[0] == f"{stages[1].label} (seed 0): starting"
    assert last[1].startswith("all stages: about ")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_resumed_training_is_named_once(stages, tmp_path, clock, terminal):
    display, text = display_of(stages[:1], tmp_path, clock, terminal=terminal)
    with display:
        display([], [run := running(stages[0], clock)], [])
        for done in (25, 30, 40):
            report(tmp_path, stages[0], done, total=150, note=f"loss 0.9{done} resumed at step 25")
            clock.now += 2
            display([], [run], [])
    assert text.getvalue().count(f"{stages[0].label} (seed 0): resuming at step 25 of 150\n") == 1


def test_a_training_from_the_start_is_not_called_resumed(stages, tmp_path, clock):
    display, text = display_of(stages[:1], tmp_path, clock)
    with display:
        report(tmp_path, stages[0], 1, total=150, note="loss 0.9")
        display([], [running(stages[0], clock)], [])
    assert "resuming" not in text.getvalue()


def test_the_last_line_has_nothing_left(stages, tmp_path, clock):
    display, text = display_of(stages[:1], tmp_path, clock)
    with display:
        display([], [running(stages[0], clock)], [])
        clock.now += 30
        display(stages[:1], [], [])
    assert text.getvalue().splitlines()[-1] == f"[  1/1] {stages[0].label} (seed 0): 30 s"


def test_cached_stages_are_counted_and_not_listed(stages, tmp_path, clock):
    display, text = display_of(stages[1:], tmp_path, clock)
    with display:
        display(stages[:1], [], stages[1:])
    assert text.getvalue() == "3 stages, 1 cached, 2 to run\n"


def test_a_log_says_once_that_a_stage_stands_still(stages, tmp_path, clock):
    display, text = display_of(stages[:1], tmp_path, clock)
    with display:
        run = running(stages[0], clock)
        for second in range(400):
            report(tmp_path, stages[0], min(second, 50))
            display([], [run], [])
            clock.now += 1
    still = [line for line in text.getvalue().splitlines() if "no progress" in line]
    assert still == [f"{stages[0].label} (seed 0): no progress for 2 min"]


def test_a_terminal_shows_one_time_for_the_study(stages, tmp_path, clock):
    display, text = display_of(stages, tmp_path, clock, terminal=True)
    with display:
        run = running(stages[0], clock)
        for second in range(40):
            report(tmp_path, stages[0], second)
            display([], [run], stages[1:])
            clock.now += 1
    assert "0:00:39 about 4 min left" in re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue())
    assert "steps/s" in text.getvalue()


def test_quiet_is_quiet(stages, tmp_path, clock):
    display, text = display_of(stages, tmp_path, clock, quiet=True)
    with display:
        display([], [running(stages[0], clock)], stages[1:])
        display(stages[:1], [], stages[1:])
    assert text.getvalue() == ""


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_the_numbers_stay(stages, tmp_path, clock, width):
    display, text = display_of(stages, tmp_path, clock, terminal=True, width=width)
    with display:
        run = running(stages[0], clock)
        for second in range(40):
            report(tmp_path, stages[0], second)
            display([], [run], stages[1:])
            clock.now += 1
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
    lines = re.split(r"[\r\n]+", shown)
    assert max(map(len, lines)) <= width
    assert any("39/100" in line and "1.0 steps/s" in line for line in lines)
    assert any("0/3" in line and "about 4 min left" in line for line in lines)


def test_slow_stages_say_seconds_per_step_and_leave_loading_out(stages, tmp_path, clock):
    display, text = display_of(stages, tmp_path, clock, terminal=True)
    with display:
        run = running(stages[0], clock)
        clock.now += 300  # loading
        for step in range(4):
            report(tmp_path, stages[0], step + 1)
            display([], [run], stages[1:])
            clock.now += 30
    assert "30 s/step" in text.getvalue()
    assert "0.0 steps/s" not in text.getvalue()


def test_a_failure_is_a_line_at_once_unless_the_command_ends_with_it(stages, tmp_path, clock):
    display, text = display_of(stages, tmp_path, clock)
    first = Failure(stages[0], StageError("a defect. Log: x."), (stages[1],))
    second = Failure(stages[2], StageError("another"), ())
    with display:
        display([], [running(stages[0], clock)], stages[1:])
        display([], [running(stages[2], clock)], [], [first])
        display([], [], [], [first, second])
    (line,) = [line for line in text.getvalue().splitlines() if line.startswith("failed")]
    assert line == f"failed: {stages[0].label} (seed 0): a defect. Log: x. Not run because they depend on it: 1 more."


def test_the_time_that_is_left_is_without_what_failed_and_needs_it(stages, tmp_path, clock):
    planned = [PlannedStage(Job(stage.fingerprint, 100.0), stage.procedure) for stage in stages]
    remaining = RemainingTime(planned, 1)
    assert remaining.seconds([]) == pytest.approx(300)
    remaining.drop(stages[0].fingerprint)
    remaining.drop(stages[1].fingerprint)
    assert remaining.seconds([]) == pytest.approx(100)
