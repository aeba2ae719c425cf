"""Studies in worlds whose truth is known: what must come out, and what must not (known_truths.toml).

They read the results that `nox -s reproduce-known-truth` leaves: `pytest benchmarks/test_known_truths.py --out results`.
"""

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


def is_of(truth, folder):
    """Return whether a folder holds the study of a truth in a world of its variant."""
    result = read_result(folder)
    variant = parse_world(result["settings"]["world"]).variant or ""
    return (result["study"], variant) == (truth["study"], truth["variant"])


@pytest.mark.parametrize(("truth", "claim"), CLAIMS)
def test_the_verdict_follows_the_truth(truth, claim, request):
    results = Path(request.config.getoption("--out"))
    folders = [folder for folder in result_folders(results) if is_of(truth, folder)]
    if not folders:
        pytest.skip(f"{results}: no such result; `nox -s reproduce-known-truth` makes it")
    for folder in folders:
        outcomes = [outcome for outcome in outcomes_of(folder) if outcome.claim == claim]
        assert outcomes, f"{folder}: no verdict on {claim}"
        for outcome in outcomes:
            assert (outcome.value == "reproduced") == outcome.is_true, f"{folder}: {outcome.reason}: {outcome.text}"


def test_truths_name_variants_and_claims():
    assert {truth["variant"] for truth in TRUTHS} == {"", *VARIANTS}
    claims = {(claim.study, claim.id) for claim in load_claims()}
    assert {(case.values[0]["study"], case.values[1]) for case in CLAIMS} <= claims
