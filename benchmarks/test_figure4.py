"""Figure 4 as tests: one per claim, and its prefixes (see `settled`)."""

import pytest
from settled import check_claim, check_record

from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "figure4"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_the_figure_and_its_data_are_there(stored):
    files = list((stored(STUDY) / "figures").iterdir())
    assert {path.suffix for path in files} == {".png", ".svg", ".csv"}
    assert all(path.stat().st_size > 200 for path in files)


def test_every_teacher_continues_every_length(result):
    fractions = result(STUDY)["settings"]["prefixes"]["fractions"]
    for line in result(STUDY)["stages"]:
        if line["stage"] == "continue":
            for task in line["summary"].values():
                if task["lost"]:
                    assert [one["fraction"] for one in task["by_fraction"]] == [0, *fractions]
                    assert task["by_fraction"][0]["committed"] == 0


def test_the_teachers_solve_the_prompts_that_they_are_asked(judged):
    for table in judged(STUDY)[0]:
        for task in table.tasks:
            for row in table.rows:
                if row.endswith(", no prefix") and table.has(row, task, "prefix_correct"):
                    assert table.mean(row, task, "prefix_correct") > 0.5
