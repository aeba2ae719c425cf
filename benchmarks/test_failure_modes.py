"""The failure modes of section 6.5 as tests: one per claim, and its examples (see `settled`)."""

import pytest
from settled import check_claim, check_record

from repro.evaluation.failure_modes import MODES
from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "failure-modes"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_the_figure_and_its_data_are_there(stored):
    files = list((stored(STUDY) / "figures").iterdir())
    assert {path.suffix for path in files} == {".png", ".svg", ".csv"}
    assert all(path.stat().st_size > 200 for path in files)


def test_modes_are_shares_of_lost_completions(judged):
    for table in judged(STUDY)[0]:
        for task in table.tasks:
            for row in table.rows:
                shares = [table.mean(row, task, mode) for mode in MODES if table.has(row, task, mode)]
                assert sum(shares) <= 1 + 1e-9
                assert not shares or table.has(row, task, "lost")


def test_there_are_examples_to_read(result):
    counts = [t for line in result(STUDY)["stages"] if line["stage"] == "classify" for t in line["summary"].values()]
    shown = {c["model"].rpartition(": ")[2] for e in result(STUDY)["examples"] for c in e["completions"][1:]}
    assert shown >= {mode.replace("_", "-") for mode in MODES if any(task[mode] for task in counts)} - {
        "self-correction"
    }
