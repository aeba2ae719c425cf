"""Table 1 and Figure 2 from plan to page, in stage processes; the second computes nothing again."""

import pytest
from rich.console import Console

from repro.pipeline.cluster import Execution
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.report.reload import judge_again, show_result
from repro.report.result import read_result
from repro.workflow.study import run_study

pytestmark = pytest.mark.slow
SETTINGS = [
    "tasks=toy-bm4",
    "test_items=8",
    "evaluation.completions_per_prompt=4",
    "diagnosis.resamples=20",
    "diagnosis.ks=1,4",
    "diagnosis.tail_k=4",
    "diagnosis.gradient_prompts=2",
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    out = tmp_path_factory.mktemp("traps")
    results = {}
    for name in ("table1", "figure2"):
        console = Console(record=True, width=120)
        results[name] = run_study(
            plan(name, scale="toy", families=("qwen3",), seeds=1, assignments=SETTINGS),
            out,
            Execution(Resources(), workers=2),
            console=console,
            quiet=False,
        )
        results[name, "text"] = console.export_text()
    return results


@pytest.mark.parametrize(("name", "measure"), [("table1", "pareto_k"), ("figure2", "Spearman")])
def test_page_result_and_verdicts(outcomes, name, measure):
    folder = outcomes[name].folder
    page = (folder / "report.md").read_text()
    assert measure in page
    assert "Scaled down: no verdict on the paper's numbers" in page
    assert "Failure rates" not in page
    result = read_result(folder)
    _, report = judge_again(result)
    assert [v.value for v in report.claims] == [v["value"] for v in result["verdicts"]["claims"]]
    console = Console(record=True, width=1000)  # nothing is folded
    show_result(folder, console)
    assert report.claims[0].statement in console.export_text()


def test_figure2_reuses_the_diagnoses_of_table1(outcomes):
    assert "3 cached, 0 to run" in outcomes["figure2", "text"]


def test_the_figures_are_written_next_to_the_result(outcomes):
    folder = outcomes["figure2"].folder
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png", ".svg", ".csv"}
    assert {cell["row"] for cell in read_result(folder)["measured"][0]["cells"]} >= {"K=V"}
