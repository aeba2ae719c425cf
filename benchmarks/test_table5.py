"""Table 5 as tests: one per claim, one per cell at paper scale, and its cost table (see `settled`)."""

import pytest
from settled import check_cells, check_claim, check_record

from repro.planner.hours import TABLE5_ROWS
from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "table5"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_the_figure_and_its_data_are_there(stored):
    files = list((stored(STUDY) / "figures").iterdir())
    assert {path.suffix for path in files} == {".png", ".svg", ".csv"}
    assert all(path.stat().st_size > 200 for path in files)


def test_cells(judged, scale, subtests):
    check_cells(judged(STUDY)[1], scale, subtests)


def test_every_line_of_table5_has_its_cost(result):
    costs = result(STUDY)["extras"]["costs"]
    assert {line["kind"] for line in costs["lines"]} >= set(TABLE5_ROWS)
    assert len(costs["lines"]) == len(result(STUDY)["stages"])
    for line in costs["lines"]:
        assert line["hours"] > 0
        assert line["peak_memory_gib"] > 0
    full = [line for line in costs["lines"] if "answer-only" not in line["label"]]
    assert all(line["tokens"] and line["flops"] for line in full if line["kind"] != "classify")


def test_hours_are_those_of_the_records(result):
    stages = {line["artifact"]: line for line in result(STUDY)["stages"]}
    costs = result(STUDY)["extras"]["costs"]
    for line in costs["lines"]:
        stage = stages[line["artifact"]]
        if costs["unit"] == "GPU-hours":
            assert line["hours"] == stage["gpu_hours"]
        else:
            assert line["hours"] >= stage["seconds"] / 3600 * (1 - 1e-9)
