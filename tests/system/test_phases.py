"""Phases of a stage: each counts for itself alone, and a stage takes its own."""

import contextlib

import pytest

from repro.system import phases
from repro.system.phases import phase, take_phases


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that the test sets: wall, and half of it on the processor."""
    state = {"now": 0.0}
    monkeypatch.setattr(phases, "_now", lambda: (state["now"], state["now"] / 2))
    take_phases()
    return state


def test_a_phase_within_another_counts_for_itself_alone(clock):
    with phase("training"):
        clock["now"] += 3
        for _ in range(2):
            with phase("loading"):
                clock["now"] += 2
        clock["now"] += 1
    assert take_phases() == {
        "training": {"wall": 4.0, "processor": 2.0},
        "loading": {"wall": 4.0, "processor": 2.0},
    }
    assert take_phases() == {}


def test_a_phase_that_fails_is_counted(clock):
    with contextlib.suppress(ValueError), phase("outer"), phase("inner"):
        clock["now"] += 5
        raise ValueError
    assert take_phases() == {"inner": {"wall": 5.0, "processor": 2.5}, "outer": {"wall": 0.0, "processor": 0.0}}
