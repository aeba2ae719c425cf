"""Figure 3 as tests: one per claim, and its figure (see `settled`)."""

import pytest
from settled import check_claim, check_record

from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "figure3"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_the_figure_and_its_data_are_there(stored):
    files = list((stored(STUDY) / "figures").iterdir())
    assert {path.suffix for path in files} == {".png", ".svg", ".csv"}
    assert all(path.stat().st_size > 200 for path in files)
