"""Planned times and sizes in words: a unit that suits the size, and no digit that an estimate does not have."""

import pytest

from repro.planner.corrections import Estimate
from repro.planner.words import describe_duration, describe_gib, describe_gpu_hours, describe_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0.4 s"),
        (40, "40 s"),
        (75, "1.2 min"),
        (360, "6 min"),
        (5400, "90 min"),
        (2 * 3600, "2 h"),
        (9.73 * 3600, "9.7 h"),
        (47 * 3600, "47 h"),
        (61.6 * 3600, "2.6 days"),
        (1711.6 * 3600, "71 days"),
        (1711.6 * 86400, "1,710 days"),
    ],
)
def test_durations(seconds, text):
    assert describe_duration(seconds) == text


def test_a_range_has_one_unit_if_both_ends_do():
    assert describe_seconds(Estimate(1000, 750, 6720)) == "12 min to 1.9 h"
    assert describe_seconds(Estimate(300, 186, 738)) == "3.1 to 12 min"
    assert describe_seconds(Estimate(300, 300, 300)) == "5 min"


def test_gpu_hours():
    assert describe_gpu_hours(Estimate(0, 15890.8 * 3600, 143016.8 * 3600)) == "15,900 to 143,000 GPU-hours"
    assert describe_gpu_hours(Estimate(4 * 3600, 4 * 3600, 4 * 3600)) == "4 GPU-hours"


@pytest.mark.parametrize(
    ("gib", "text"), [(0.0, "0 MiB"), (0.03, "31 MiB"), (6.66, "6.7 GiB"), (117.8, "117.8 GiB"), (4355.1, "4.25 TiB")]
)
def test_sizes(gib, text):
    assert describe_gib(gib) == text
