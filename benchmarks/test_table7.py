"""Table 7 as tests: one per claim, and one per cell at paper scale (see `settled`)."""

import pytest
from settled import check_cells, check_claim, check_record, check_student_per_task, check_unseen

from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "table7"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_cells(judged, scale, subtests):
    check_cells(judged(STUDY)[1], scale, subtests)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_nothing_that_was_calibrated_on_is_measured(result, judged):
    check_unseen(result(STUDY), judged(STUDY)[0])


def test_the_student_across_distributions_is_another_model_on_every_task(result):
    check_student_per_task(result(STUDY))
