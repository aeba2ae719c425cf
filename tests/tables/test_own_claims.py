"""Claims of one's own: read from a file, judged beside the stored ones, kept in the result."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from repro.errors import InputError
from repro.printed.load import load_claims
from repro.report.merge import read_parts
from repro.report.reload import judge_again, show_result
from repro.report.result import RESULTS_FILE, read_result
from repro.report.write import write_report
from repro.tables.metric_names import is_metric
from repro.tables.own_claims import describe_unjudged, judged_claims, read_own_claims

ROOT = Path(__file__).parents[2]
SOURCE = re.findall(r"```toml\n(\[\[claims\]\].*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)[0]
"""The claim of docs/plugins.md."""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_claims.toml"
    path.write_text(SOURCE)
    return path


def test_a_stored_result_is_judged_by_them_too(file, tmp_path):
    claims = read_own_claims([file], "table2")
    content = read_result(ROOT / "examples" / "table2-toy")
    _, report = judge_again(content, claims)
    (own,) = [verdict for verdict in report.claims if verdict.claim == claims[0].id]
    assert own.estimate is not None
    assert own.role == "control"
    _, stored = judge_again(content)
    assert [v.value for v in report.claims if v.role != "control"] == [
        v.value for v in stored.claims if v.role != "control"
    ]
    folder = tmp_path / "kept"
    folder.mkdir()
    kept = {**content, "own_claims": [claim.model_dump(mode="json") for claim in claims]}
    (folder / RESULTS_FILE).write_text(json.dumps(kept))
    assert own in judge_again(read_result(folder))[1].claims
    assert own in read_parts([folder])[0].report.claims
    ours = [v for v in judge_again(read_result(folder), claims)[1].claims if v.claim == own.claim]
    assert ours == [own]  # named again, it is judged once


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('role = "control"', 'role = "claim"', "controls are ours"),
        ('study = "table2"', 'study = "table1"', "these claims are judged on a result of 'table2'"),
        ("my-misled-not-far-below-no-reasoning", "sft-helps", "is used by another claim"),
        ("margin = 0.05\n", "", "margin above 0"),
        ('kind = "noninferiority"', 'kind = "better"', "kind"),
        ('metrics = ["acc"]', 'metrics = ["accc"]', r"claims\[0\].metrics: 'accc': no such metric. Did you mean acc"),
    ],
)
def test_a_claim_that_cannot_be_used_is_refused_with_its_line(file, old, new, message):
    file.write_text(SOURCE.replace(old, new))
    with pytest.raises(InputError, match=rf"my_claims.toml, line \d+.*{message}"):
        read_own_claims([file], "table2")


def test_every_metric_of_the_stored_claims_and_of_a_stored_result_is_one():
    (table,) = read_result(ROOT / "examples" / "table2-toy")["measured"]
    metrics = {metric for claim in load_claims() for metric in claim.metrics}
    metrics |= {cell["metric"] for cell in table["cells"]} | {"maj4", "top_k_rkl@10"}
    assert [metric for metric in metrics if not is_metric(metric)] == []


def test_a_claim_about_a_row_that_is_not_there_is_named_with_the_nearest(file):
    file.write_text(SOURCE.replace('"Misled"', '"Mislead"'))
    console = Console(record=True, width=200)
    show_result(ROOT / "examples" / "table2-toy", console, [file])
    (claim,) = read_own_claims([file], "table2")
    (line,) = [line for line in console.export_text().splitlines() if line.startswith("not judged: ")]
    assert line.startswith(
        f"not judged: {claim.id} (qwen3): row 'Mislead' has no measurement of accuracy. Did you mean Misled?"
    )
    file.write_text(SOURCE)
    console = Console(record=True, width=200)
    show_result(ROOT / "examples" / "table2-toy", console, [file])
    assert "not judged" not in console.export_text()


def test_a_claim_judged_without_some_of_its_tasks_counts_as_judged(file):
    (claim,) = read_own_claims([file], "table2")
    _, report = judge_again(read_result(ROOT / "examples" / "table2-toy"), [claim])
    partly = replace(
        report, skipped=(f"{claim.id} (qwen3): tasks left out because idle: Misled on toy-csqa: no reward",)
    )
    assert describe_unjudged([claim], partly, []) == []
    without = replace(partly, claims=(), skipped=(f"{claim.id} (qwen3): row 'Misled' has no measurement",))
    assert len(describe_unjudged([claim], without, [])) == 1


def test_a_file_that_cannot_be_read_is_a_line(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.toml: No such file or directory. Name a TOML file.$"):
        read_own_claims([tmp_path / "nowhere.toml"], "table2")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"binary.toml: not UTF-8 text \(invalid start byte at byte 0\).$"):
        read_own_claims([tmp_path / "binary.toml"], "table2")


def test_an_id_that_is_stored_by_now_is_refused(file):
    (claim,) = read_own_claims([file], "table2")
    with pytest.raises(InputError, match="has this id"):
        judged_claims("table2", [claim.model_copy(update={"id": "sft-helps"})])
    assert judged_claims("table2", []) == load_claims("table2")


def test_a_report_takes_claims_about_its_one_study(file, tmp_path):
    stored = ROOT / "examples" / "table2-toy"
    (claim,) = read_own_claims([file], "table2")
    (part,) = read_parts([stored], [file])
    assert claim.id in {verdict.claim for verdict in part.report.claims}
    page, _ = write_report([part], tmp_path / "report.html")
    assert claim.id in page.read_text()
    other = tmp_path / RESULTS_FILE
    content = read_result(stored)
    tables = [{**table, "study": "table6"} for table in content["measured"]]
    other.write_text(json.dumps({**content, "study": "table6", "measured": tables}))
    with pytest.raises(InputError, match="--claims: give results of one study; these are of table2, table6"):
        read_parts([stored, other], [file])
