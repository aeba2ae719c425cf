"""Studies in worlds whose truth is known: what must come out, and what must not (known_truths.toml).

They read the results that `nox -s reproduce-known-truth` leaves: `pytest benchmarks/test_known_truths.py --out results`.
"""

import functools
from pathlib import Path

import pytest
from known_truths import TRUTHS, outcomes_of, result_folders

from repro.report.result import read_result
from repro.tables import load_claims
from repro.toy.world import VARIANTS, parse_world

pytestmark = pytest.mark.table
CLAIMS = [
    pytest.param(truth, claim, id=f"{truth['variant'] or 'plain'}-{claim}")
    for truth in TRUTHS
    for key in ("always", "never")
    for claim in truth.get(key, ())
]


@functools.cache
def study_and_variant(folder):
    """Return the study of a result and the variant of its world."""
    result = read_result(folder)
    return result["study"], parse_world(result["settings"]["world"]).variant or ""


@functools.cache
def judged(folder):
    """Return the outcomes of a result, which is judged once for all of its claims."""
    return tuple(outcomes_of(folder))


@pytest.mark.parametrize(("truth", "claim"), CLAIMS)
def test_the_verdict_follows_the_truth(truth, claim, request):
    results = Path(request.config.getoption("--out"))
    study = truth["study"], truth["variant"]
    folders = [folder for folder in result_folders(results) if study_and_variant(folder) == study]
    if not folders:
        pytest.skip(f"{results}: no such result; `nox -s reproduce-known-truth` makes it")
    for folder in folders:
        outcomes = [outcome for outcome in judged(folder) if outcome.claim == claim]
        assert outcomes, f"{folder}: no verdict on {claim}"
        for outcome in outcomes:
            assert (outcome.value == "reproduced") == outcome.is_true, f"{folder}: {outcome.reason}: {outcome.text}"


def test_truths_name_variants_and_claims():
    assert {truth["variant"] for truth in TRUTHS} == {"", *VARIANTS}
    claims = {(claim.study, claim.id) for claim in load_claims()}
    assert {(case.values[0]["study"], case.values[1]) for case in CLAIMS} <= claims
