"""The eta sweep as tests: one per claim (see `settled`)."""

import pytest
from settled import check_claim, check_record

from repro.recipes import eta_label as knob
from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "eta-sweep"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_every_eta_has_its_teacher_students_and_traps(result, judged):
    etas = result(STUDY)["settings"]["etas"]
    for table in judged(STUDY)[0]:
        for name, metric in (("Teacher", "tokens"), ("GKD-RKL", "acc"), ("SFT", "acc"), ("Traps", "token_rkl")):
            points = knob.curve(table.rows, name)
            assert [eta for eta, _ in points] == sorted(etas)
            assert all(table.has(row, task, metric) for _, row in points for task in table.tasks)


def test_the_page_has_the_curves_and_the_trend_tests(stored):
    page = (stored(STUDY) / "report.html").read_text(encoding="utf-8")
    assert "Teacher kept against student lost" in page
    assert "Kendall" in page
