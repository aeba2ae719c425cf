"""Studies in worlds whose truth is known: what must come out, and what must not (known_truths.toml).

They read the results that `nox -s reproduce-known-truth` leaves: `pytest benchmarks/test_known_truths.py --out results`.
"""

from pathlib import Path

import pytest
from known_truths import TRUTHS

from repro.report.reload import judge_again
from repro.report.result import RESULTS_FILE, read_result
from repro.tables import load_claims
from repro.toy.world import DEFAULT_WORLD, VARIANTS, World

pytestmark = pytest.mark.table
CASES = [
    pytest.param(truth, claim, is_expected, id=f"{truth['variant'] or 'plain'}-{claim}")
    for truth in TRUTHS
    for is_expected, key in ((True, "always"), (False, "never"))
    for claim in truth.get(key, ())
]


def folder_of(truth):
    """Return the name of the folder of a world's result."""
    return f"known-truth-{truth['study']}-{truth['variant'] or 'plain'}"


@pytest.mark.parametrize(("truth", "claim", "is_expected"), CASES)
def test_the_verdict_follows_the_truth(truth, claim, is_expected, request):
    folder = Path(request.config.getoption("--out")) / folder_of(truth)
    if not (folder / RESULTS_FILE).is_file():
        pytest.skip(f"{folder}: not run; `nox -s reproduce-known-truth` does")
    result = read_result(folder)
    assert result["settings"]["world"] == World(DEFAULT_WORLD.seed, truth["variant"] or None).name
    verdicts = [verdict for verdict in judge_again(result)[1].claims if verdict.claim == claim]
    assert verdicts
    for verdict in verdicts:
        assert (verdict.value == "reproduced") == is_expected, f"{truth['reason']}: {verdict.text}"


def test_truths_name_variants_and_claims():
    assert {truth["variant"] for truth in TRUTHS} == {"", *VARIANTS}
    claims = {(claim.study, claim.id) for claim in load_claims()}
    assert {(case.values[0]["study"], case.values[1]) for case in CASES} <= claims
