"""Table 6 as tests: one per claim, and one per cell at paper scale (see `settled`)."""

import pytest
from settled import check_cells, check_claim, check_record

from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "table6"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_cells(judged, scale, subtests):
    check_cells(judged(STUDY)[1], scale, subtests)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_every_task_has_a_teacher_and_a_student_of_its_own(result):
    for method in ("Undistillable", "Misled"):
        rows = [row for row in result(STUDY)["rows"] if row["method"] == method]
        pairs = {(row["family"], row["seed"]) for row in rows}
        assert len({row["artifact"] for row in rows}) == len(pairs) * len(result(STUDY)["tasks"])
