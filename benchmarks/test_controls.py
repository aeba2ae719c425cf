"""The controls as tests: one per claim (see `settled`)."""

import pytest
from settled import check_claim, check_record

from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "controls"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_each_variant_changes_one_thing(result):
    labels = {row["method"] for row in result(STUDY)["rows"]}
    assert {"Misled", "Misled (per token)", "Misled (batch)", "Eta0-Student", "No-reasoning"} <= labels
    artifacts = {row["method"]: row["artifact"] for row in result(STUDY)["rows"]}
    assert len(set(artifacts.values())) == len(artifacts)
