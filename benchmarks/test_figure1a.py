"""Figure 1a as tests: one per claim, and what its teachers are (see `settled`)."""

import pytest
from settled import check_claim, check_record

from repro.tables import load_claims
from repro.tables.formatting import main_metric

pytestmark = pytest.mark.table
STUDY = "figure1a"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_the_figure_and_its_data_are_there(stored):
    files = list((stored(STUDY) / "figures").iterdir())
    assert {path.suffix for path in files} == {".png", ".svg", ".csv"}
    assert all(path.stat().st_size > 200 for path in files)


def test_every_teacher_has_its_student_and_its_size(result, judged):
    sizes = result(STUDY)["extras"]["parameters"]
    for table in judged(STUDY)[0]:
        teachers = [row for row in table.rows if f"Student of {row}" in table.rows]
        assert len(teachers) >= 4
        assert set(sizes[table.family]) == set(teachers)


def test_a_gain_is_the_difference_of_two_measured_accuracies(judged):
    for table in judged(STUDY)[0]:
        for row, task, metric in table.values:
            if metric == "gain":
                main = main_metric(table, task)
                gained = table.mean(row, task, main) - table.mean("Student", task, main)
                assert table.mean(row, task, "gain") == pytest.approx(gained)
