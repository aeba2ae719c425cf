"""What whole studies say in worlds whose truth is known: alarms are counted against the truth of the study's own world."""

import json
from dataclasses import replace

import pytest
from known_truths import Outcome, outcomes_of, section, truths_of
from measured_world import build

from repro.report.result import RESULTS_FILE

from .conftest import make_result


def test_truths_are_those_of_the_variant():
    assert [claim for claim, is_true, _ in truths_of("table2", "world4-no-gap") if not is_true] == [
        "misled-collapses-under-student"
    ]
    assert list(truths_of("table2", "world3")) == []
    assert [is_true for _, is_true, _ in truths_of("figure2", "world3")] == [True]


@pytest.mark.parametrize(("world", "claim"), [("world3-no-gap", "misled-collapses-under-student"), ("world3", None)])
def test_a_study_that_calls_the_false_thing_true_is_an_alarm(tmp_path, world, claim):
    content = make_result(build(items=60))
    content["settings"]["world"] = world
    (tmp_path / RESULTS_FILE).write_text(json.dumps(content))
    outcomes = list(outcomes_of(tmp_path))
    assert [o.claim for o in outcomes] == ([claim] if claim else [])
    for outcome in outcomes:
        assert outcome.value == "reproduced"
        assert not outcome.is_true
        assert len(outcome.one_seed) == 3


def test_the_page_counts_alarms_and_power_apart():
    alarm = Outcome(
        "world3-no-gap", "table2", "c", "qwen3", False, "r", "reproduced", "t", ("reproduced", "inconclusive")
    )
    silence = replace(alarm, value="contradicted", one_seed=("contradicted", "inconclusive"))
    power = replace(alarm, is_true=True, one_seed=("reproduced", "reproduced"))
    text = section([alarm, silence, power])
    assert "| false by construction (false alarms) | 1 of 2 | 1 of 4 |" in text
    assert "| true by construction (power) | 1 of 1 | 2 of 2 |" in text
