"""Figure 2 as tests: one per claim, and the figure's data (see `settled`)."""

import csv

import pytest
from settled import check_claim, check_record

from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "figure2"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_the_figures_and_their_data_are_there(stored):
    files = list((stored(STUDY) / "figures").iterdir())
    assert {path.suffix for path in files} == {".png", ".svg", ".csv"}
    assert all(path.stat().st_size > 500 for path in files)


def test_at_the_whole_vocabulary_every_step_counts_for_every_token(stored):
    folder = stored(STUDY) / "figures"
    for path in folder.glob("contributions-*.csv"):
        with path.open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["K"] for row in rows} >= {"1", "V"}
        for task in {row["task"] for row in rows}:
            whole = [row for row in rows if (row["task"], row["K"]) == (task, "V")]
            assert len({row["steps"] for row in whole}) == 1
            assert sum(float(row["frequency"]) for row in whole) == pytest.approx(1)
