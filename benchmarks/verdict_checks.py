"""Checks of a stored result: its claims against the committed record at toy scale, on their own at other scales.

At toy scale a test passes when the verdict equals the record, whatever the verdict: the world is ours, so what matters
is that nothing changes unseen. A study without a record skips and says how to make one. At the other scales a
contradicted claim fails; an inconclusive one skips with what would decide it, one that is not testable with what it lacks
(`--strict-claims`: both fail).
"""

from pathlib import Path

import pytest

from repro.report.expected_verdicts import record_path
from repro.tables.verdicts.known_verdicts import compare_with_known, load_known_verdicts

KNOWN = Path(__file__).parent / "known_verdicts"


def check_claim(claim, report, scale, request):
    """Check one claim in every family of the run."""
    verdicts = [v for v in report.claims if v.claim == claim]
    if not verdicts:
        pytest.skip("its rows were not run, or this scale does not test it")
    if scale == "toy":
        differences = [d.text for d in compare_with_known(report, _record(report)) if d.claim == claim]
        assert not differences, "; ".join(differences)
        return
    contradicted = [v.text for v in verdicts if v.value == "contradicted" and v.role != "control"]
    assert not contradicted, "; ".join(contradicted)
    undecided = [v.text for v in verdicts if v.value in ("inconclusive", "not testable")]
    if undecided and request.config.getoption("--strict-claims"):
        pytest.fail("; ".join(undecided))
    if undecided:
        pytest.skip("; ".join(undecided))


def check_cells(report, scale, subtests):
    """Check that no printed number is contradicted."""
    if scale != "paper":
        pytest.skip("scaled down: no verdict on the paper's numbers")
    for cell in report.cells:
        with subtests.test(row=cell.row, column=cell.column, metric=cell.metric):
            assert cell.value != "contradicted", f"printed {cell.printed}, measured {cell.measured:.4g}"


def check_record(report, scale):
    """Check that every claim of the record was run."""
    if scale != "toy":
        pytest.skip("only the toy world has a record")
    missing = [d.text for d in compare_with_known(report, _record(report)) if d.found is None]
    assert not missing, "; ".join(missing)


def _record(report):
    path = record_path(KNOWN, report.study, "toy")
    if not path.exists():
        pytest.skip(
            f"no record of known verdicts yet: `repro run {report.study} --scale toy --seeds 3` on committed code, then"
            f" `repro record-verdicts`. This run: {', '.join(f'{v.claim} {v.value}' for v in report.claims)}"
        )
    return load_known_verdicts(path)
