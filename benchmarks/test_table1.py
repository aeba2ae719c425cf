"""Table 1 as tests: one per claim, and one per cell at paper scale (see `settled`)."""

import pytest
from settled import check_cells, check_claim, check_record

from repro.tables import load_claims

pytestmark = pytest.mark.table
STUDY = "table1"


@pytest.mark.parametrize("claim", [claim.id for claim in load_claims(STUDY)])
def test_claim(claim, judged, scale, request):
    check_claim(claim, judged(STUDY)[1], scale, request)


def test_cells(judged, scale, subtests):
    check_cells(judged(STUDY)[1], scale, subtests)


def test_every_recorded_claim_was_run(judged, scale):
    check_record(judged(STUDY)[1], scale)


def test_importance_weighted_cells_are_never_matched(judged, scale):
    _, report = judged(STUDY)
    weighted = [cell for cell in report.cells if cell.metric in ("is_rkl", "is_k3")]
    if scale != "paper":
        assert not weighted
        pytest.skip("scaled down: no verdict on the paper's numbers")
    assert {cell.value for cell in weighted} == {"diagnosed"}


def diagnoses(result):
    """Summaries of the study's diagnoses."""
    return [line["summary"] for line in result(STUDY)["stages"] if line["stage"] == "diagnose"]


def test_every_importance_cell_has_its_health_beside_it(result):
    for summary in diagnoses(result):
        shown = {(one["task"], one["measure"]) for one in summary["panel"] if one["policy"] == "teacher"}
        for task in {task for task, _ in shown}:
            health = ("mean_weight", "effective_sample_size", "max_weight_share", "pareto_k")
            assert {(task, name) for name in ("is_rkl", "is_k3", *health)} <= shown


def test_no_health_column_is_impossible(result):
    for summary in diagnoses(result):
        for one in summary["panel"]:
            if one["measure"] == "effective_sample_size":
                assert 0 <= one["value"] <= one["rollouts"] * (1 + 1e-9)
            if one["measure"] == "max_weight_share":
                assert 0 <= one["value"] <= 1 + 1e-9
