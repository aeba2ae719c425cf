"""Table 2 as tests: one per claim, and one per cell at paper scale.

At toy scale a test passes when the verdict equals the committed record, whatever the verdict: the world is ours, so
what matters is that nothing changes unseen. At the other scales a contradicted claim fails and an inconclusive one
skips with what would decide it (`--strict-claims`: fails).
"""

from pathlib import Path

import pytest

from repro.report.known import record_path
from repro.tables import load_claims
from repro.tables.known import compare, load_known

pytestmark = pytest.mark.table
KNOWN = Path(__file__).parent / "known_verdicts"
CLAIMS = [claim.id for claim in load_claims("table2")]


@pytest.mark.parametrize("claim", CLAIMS)
def test_claim(claim, judged_table2, scale, request):
    _, report = judged_table2
    verdicts = [v for v in report.claims if v.claim == claim]
    if not verdicts:
        pytest.skip("its rows were not run")
    if scale == "toy":
        differences = [
            d.text for d in compare(report, load_known(record_path(KNOWN, "table2", "toy"))) if d.claim == claim
        ]
        assert not differences, "; ".join(differences)
        return
    _settle(verdicts, request)


def test_cells(judged_table2, scale, subtests):
    _, report = judged_table2
    if scale != "paper":
        pytest.skip("scaled down: no verdict on the paper's numbers")
    for cell in report.cells:
        with subtests.test(row=cell.row, column=cell.column, metric=cell.metric):
            assert cell.value != "contradicted", f"printed {cell.printed}, measured {cell.measured:.4g}"


def test_every_recorded_claim_was_run(judged_table2, scale):
    if scale != "toy":
        pytest.skip("only the toy world has a record")
    _, report = judged_table2
    missing = [d.text for d in compare(report, load_known(record_path(KNOWN, "table2", "toy"))) if d.found is None]
    assert not missing, "; ".join(missing)


def _settle(verdicts, request):
    contradicted = [v.text for v in verdicts if v.value == "contradicted" and v.role != "control"]
    assert not contradicted, "; ".join(contradicted)
    undecided = [v.text for v in verdicts if v.value == "inconclusive"]
    if undecided and request.config.getoption("--strict-claims"):
        pytest.fail("; ".join(undecided))
    if undecided:
        pytest.skip("; ".join(undecided))
