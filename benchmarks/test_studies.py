"""Every study as tests: one per claim, one per cell at paper scale, and what only a single study shows.

They read a result that `repro run` left: `pytest benchmarks/test_studies.py --study table1 --out results --scale toy`.
`test_table2.py` is the same for one study, spelled out.
"""

import csv
from xml.etree import ElementTree

import pytest
from matplotlib.image import imread
from verdict_checks import check_cells, check_claim, check_record

from repro.evaluation.failure_modes import MODES
from repro.planner.hours import TABLE5_ROWS
from repro.recipes.labels import after_prefix, student_of
from repro.recipes.studies import STUDIES
from repro.tables import load, load_claims
from repro.tables.formatting import main_metric

pytestmark = pytest.mark.table


def only(*studies):
    """Run a test for these studies alone."""
    return pytest.mark.parametrize("study", studies)


@pytest.mark.parametrize(("study", "claim"), [(claim.study, claim.id) for claim in load_claims()])
def test_claim(study, claim, judged, scale, request):
    check_claim(claim, judged(study)[1], scale, request)


@only(*(study for study in STUDIES if load(study).cells))
def test_cells(study, judged, scale, subtests):
    check_cells(judged(study)[1], scale, subtests)


@only(*STUDIES)
def test_every_recorded_claim_was_run(study, judged, scale):
    check_record(judged(study)[1], scale)


@only("table5", "figure1a", "figure2", "figure3", "figure4", "failure-modes")
def test_figures_and_their_data_can_be_read(study, stored):
    files = sorted((stored(study) / "figures").iterdir())
    assert {path.suffix for path in files} == {".png", ".svg", ".csv"}
    for path in files:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as stream:
                head, *rows = csv.reader(stream)
            assert rows
            assert all(len(row) == len(head) for row in rows), path.name
        elif path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        else:
            assert imread(path).std() > 0


@only("table1")
def test_importance_weighted_cells_are_never_matched(study, judged, scale):
    weighted = [cell for cell in judged(study)[1].cells if cell.metric in ("is_rkl", "is_k3")]
    if scale != "paper":
        assert not weighted
        pytest.skip("scaled down: no verdict on the paper's numbers")
    assert {cell.value for cell in weighted} == {"diagnosed"}


@only("table1")
def test_every_importance_cell_has_its_health_beside_it(study, result):
    for summary in diagnoses(result(study)):
        cells = {(line["task"], line["measure"]) for line in summary["panel"] if line["policy"] == "teacher"}
        for task in {task for task, _ in cells}:
            health = ("mean_weight", "effective_sample_size", "max_weight_share", "pareto_k")
            assert {(task, name) for name in ("is_rkl", "is_k3", *health)} <= cells


@only("table1")
def test_no_health_column_is_impossible(study, result):
    for summary in diagnoses(result(study)):
        for line in summary["panel"]:
            if line["measure"] == "effective_sample_size":
                assert 0 <= line["value"] <= line["rollouts"] * (1 + 1e-9)
            if line["measure"] == "max_weight_share":
                assert 0 <= line["value"] <= 1 + 1e-9


@only("figure2")
def test_at_the_full_vocabulary_every_step_counts_for_every_token(study, stored):
    for path in (stored(study) / "figures").glob("contributions-*.csv"):
        with path.open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["K"] for row in rows} >= {"1", "V"}
        for task in {row["task"] for row in rows}:
            full = [row for row in rows if (row["task"], row["K"]) == (task, "V")]
            assert len({row["steps"] for row in full}) == 1
            assert sum(float(row["frequency"]) for row in full) == pytest.approx(1)


@only("table3", "table7")
def test_nothing_that_was_calibrated_on_is_measured(study, result, judged):
    source = set(result(study)["settings"]["source_tasks"])
    for table in judged(study)[0]:
        assert not source & set(table.tasks)


@only("table3", "table7")
def test_the_student_across_distributions_is_another_model_on_every_task(study, result):
    rows = [row for row in result(study)["rows"] if row["method"] == "Misled (CD)"]
    trained = len(result(study)["tasks"]) * len({(row["family"], row["seed"]) for row in rows})
    assert len({row["artifact"] for row in rows}) == len(rows) == trained


@only("table6")
def test_every_task_has_its_own_teacher_and_student(study, result):
    for method in ("Undistillable", "Misled"):
        rows = [row for row in result(study)["rows"] if row["method"] == method]
        pairs = {(row["family"], row["seed"]) for row in rows}
        assert len({row["artifact"] for row in rows}) == len(pairs) * len(result(study)["tasks"])


@only("eta-sweep")
def test_every_eta_has_its_teacher_students_and_traps(study, result, judged):
    etas = result(study)["settings"]["etas"]
    for table in judged(study)[0]:
        for name, metric in (("Teacher", "tokens"), ("GKD-RKL", "acc"), ("SFT", "acc"), ("Traps", "token_rkl")):
            points = table.rows_along_eta(name)
            assert [eta for eta, _ in points] == sorted(etas)
            assert all(table.has(row, task, metric) for _, row in points for task in table.tasks)


@only("eta-sweep")
def test_the_page_has_the_curves_and_the_trend_tests(study, stored):
    page = (stored(study) / "report.html").read_text(encoding="utf-8")
    assert "Teacher kept against student lost" in page
    assert "Kendall" in page


@only("controls")
def test_each_variant_is_another_model(study, result):
    artifacts = {row["method"]: row["artifact"] for row in result(study)["rows"]}
    assert {"Misled", "Misled (per token)", "Misled (batch)", "Eta0-Student", "No-reasoning"} <= set(artifacts)
    assert len(set(artifacts.values())) == len(artifacts)


@only("table5")
def test_every_line_of_table5_has_its_cost(study, result):
    costs = result(study)["extras"]["costs"]
    assert {line["kind"] for line in costs["lines"]} >= set(TABLE5_ROWS)
    assert len(costs["lines"]) == len(result(study)["stages"])
    for line in costs["lines"]:
        assert line["hours"] > 0
        assert line["peak_memory_gib"] > 0
    full = [line for line in costs["lines"] if "answer-only" not in line["label"]]
    assert all(line["tokens"] and line["flops"] for line in full if line["kind"] != "classify")


@only("table5")
def test_hours_are_those_of_the_records(study, result):
    stages = {line["artifact"]: line for line in result(study)["stages"]}
    costs = result(study)["extras"]["costs"]
    for line in costs["lines"]:
        stage = stages[line["artifact"]]
        if costs["unit"] == "GPU-hours":
            assert line["hours"] == stage["gpu_hours"]
        else:
            assert line["hours"] >= stage["seconds"] / 3600 * (1 - 1e-9)


@only("figure1a")
def test_every_teacher_has_its_student_and_its_size(study, result, judged):
    sizes = result(study)["extras"]["parameters"]
    for table in judged(study)[0]:
        teachers = [row for row in table.rows if student_of(row) in table.rows]
        assert len(teachers) >= 4
        assert set(sizes[table.family]) == set(teachers)


@only("figure1a")
def test_a_gain_is_the_difference_of_two_measured_accuracies(study, judged):
    for table in judged(study)[0]:
        for row, task, metric in table.values:
            if metric == "gain":
                main = main_metric(table, task)
                difference = table.mean(row, task, main) - table.mean("Student", task, main)
                assert table.mean(row, task, "gain") == pytest.approx(difference)


@only("figure4")
def test_every_teacher_continues_every_length(study, result):
    fractions = result(study)["settings"]["prefixes"]["fractions"]
    for line in result(study)["stages"]:
        if line["stage"] == "continue":
            for task in line["summary"].values():
                if task["lost"]:
                    assert [length["fraction"] for length in task["by_fraction"]] == [0, *fractions]
                    assert task["by_fraction"][0]["committed"] == 0


@only("figure4")
def test_the_teachers_solve_the_prompts_that_they_are_asked(study, result, judged):
    for table in judged(study)[0]:
        alone = {after_prefix(row["method"], 0.0) for row in result(study)["rows"]}
        for row, task, metric in table.values:
            if row in alone and metric == "prefix_correct":
                assert table.mean(row, task, metric) > 0.5


@only("failure-modes")
def test_modes_are_shares_of_lost_completions(study, judged):
    for table in judged(study)[0]:
        for task in table.tasks:
            for row in table.rows:
                shares = [table.mean(row, task, mode) for mode in MODES if table.has(row, task, mode)]
                assert sum(shares) <= 1 + 1e-9
                assert not shares or table.has(row, task, "lost")


@only("failure-modes")
def test_there_are_examples_to_read(study, result):
    lines = [line for line in result(study)["stages"] if line["stage"] == "classify"]
    counts = [task for line in lines for task in line["summary"].values()]
    examples = [c for example in result(study)["examples"] for c in example["completions"][1:]]
    modes = {completion["model"].rpartition(": ")[2] for completion in examples}
    named = {mode.replace("_", "-") for mode in MODES if any(task[mode] for task in counts)}
    assert modes >= named - {"self-correction"}


def diagnoses(result):
    """Return the summaries of the study's diagnoses."""
    return [line["summary"] for line in result["stages"] if line["stage"] == "diagnose"]
