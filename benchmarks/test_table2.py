"""Table 2 as tests: one per claim, and one per cell at paper scale. `test_studies.py` has the same for every study."""

import pytest
from verdict_checks import check_cells, check_claim, check_record

from repro.tables import load_claims

pytestmark = pytest.mark.table


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims("table2")])
def test_claim(claim, judged, scale, request):
    _, report = judged("table2")
    check_claim(claim, report, scale, request)


def test_cells(judged, scale, subtests):
    _, report = judged("table2")
    check_cells(report, scale, subtests)


def test_every_recorded_claim_was_run(judged, scale):
    _, report = judged("table2")
    check_record(report, scale)
