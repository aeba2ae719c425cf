"""The right loss passes every case, and each planted mutant fails the cases that are meant for it."""

import pytest
from conformance.mutants import MUTANTS

from repro.conformance import as_loss, cases, run_case
from repro.conformance.reference import loss as right

CASES = {case.name: case for case in cases()}


@pytest.mark.parametrize("case", cases(), ids=str)
def test_the_right_loss_passes(case) -> None:
    outcome = run_case(case, as_loss(right))
    assert (outcome.status, outcome.detail) == ("holds", "")


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_by_the_case_that_is_meant_for_it(name: str) -> None:
    function, targets, declared = MUTANTS[name]
    mutated = as_loss(function, **declared)
    outcomes = {target: run_case(CASES[target], mutated) for target in targets}
    assert {target: outcome.status for target, outcome in outcomes.items()} == dict.fromkeys(targets, "fails")
    assert not any(outcome.detail.startswith(("raised", "returned")) for outcome in outcomes.values())


def test_every_case_is_meant_for_a_mutant() -> None:
    meant = {target for _, targets, _ in MUTANTS.values() for target in targets}
    assert meant == set(CASES)
    assert len(MUTANTS) >= 20


def test_names_are_unique_and_every_case_names_a_thread() -> None:
    assert len(CASES) == len(cases())
    assert all("#" in thread for case in cases() for thread in case.threads)
    assert all(case.threads and case.title for case in cases())
