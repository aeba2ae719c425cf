"""Section 6.4: whether changes of traps correlate with the outcomes of students, in worlds where they do and do not."""

from types import SimpleNamespace

import numpy as np
import pytest

from repro.diagnosis.files import PER_PROMPT
from repro.diagnosis.per_prompt import PerPromptValues, write_per_prompt
from repro.evaluation.graded import Graded, write_graded
from repro.generation.rollouts import Rollout
from repro.printed.load import load, load_claims
from repro.recipes.table1_and_4 import STUDENT_OF
from repro.stages.artifact import ROLLOUTS
from repro.tables.formatting import layout_metrics, measured_rows
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.trap_outcomes import TRAPS, add_traps_and_outcomes
from repro.tables.verdicts.verdict import verdict

TASKS = ("toy-bm4", "toy-bm5")
ITEMS = tuple(f"item-{n:02d}" for n in range(40))
SAMPLES = 8


def world(tmp_path, traps, accuracies, seeds=(0, 1, 2)):
    """Measure Table 4. traps: teacher -> mean token RKL; accuracies: teacher -> its student's accuracy."""
    rng = np.random.default_rng(0)
    rows = {}

    def stage(label, kind, seed):
        (tmp_path / f"{label}-{seed}").mkdir()
        return SimpleNamespace(stage=SimpleNamespace(kind=kind, folder_name=f"{label}-{seed}"))

    for teacher, level in traps.items():
        rows[teacher] = [stage(teacher, "diagnose", seed) for seed in seeds]
        for row in rows[teacher]:
            measures = [
                PerPromptValues(task, metric, ITEMS, rng.normal(level * scale, 0.02, 40), np.full(40, 7.0))
                for n, task in enumerate(TASKS)
                for metric, scale in (("token_rkl", 1 + n), ("wrong_trace", 0.5))
            ]
            write_per_prompt(tmp_path / row.stage.folder_name / PER_PROMPT, measures)
    for teacher, accuracy in accuracies.items():
        label = STUDENT_OF[teacher]
        rows[label] = [stage(label, "evaluate", seed) for seed in seeds]
        for row in rows[label]:
            graded = []
            for task in TASKS:
                for item in ITEMS:
                    for sample in range(SAMPLES):
                        answer = "1" if rng.random() < accuracy else "2"
                        rollout = Rollout(item, task, "p", sample, [1], [4], [0.0], answer, "eos")
                        graded.append(Graded(rollout, "1", answer, float(answer == "1")))
            write_graded(tmp_path / row.stage.folder_name / ROLLOUTS, [graded])
    table = MeasuredTable("table4", "toy", "qwen3", seeds)
    add_traps_and_outcomes(table, rows, tmp_path)
    return table


def verdicts_of(table):
    report = verdict(table, load("table4"), missing="inconclusive", resamples=500)
    return {v.claim: v for v in report.claims}


TRAP_CHANGES = {"Original": 0.5, "Distillable": 0.35, "Undistillable": 0.8}


@pytest.mark.parametrize(
    ("accuracies", "value"),
    [
        ({"Original": 0.5, "Distillable": 0.6, "Undistillable": 0.1}, "reproduced"),
        ({"Original": 0.5, "Distillable": 0.2, "Undistillable": 0.8}, "contradicted"),
    ],
)
def test_students_fall_where_the_traps_grow(tmp_path, accuracies, value):
    table = world(tmp_path, TRAP_CHANGES, accuracies)
    verdicts = verdicts_of(table)
    for trap in ("token-rkl", "wrong-trace"):
        judged = verdicts[f"{trap}-changes-correlate-with-outcomes"]
        assert judged.value == value
        assert judged.items == 80
        assert abs(judged.estimate) > 0.9


def test_outcomes_without_regard_to_the_traps_reproduce_nothing(tmp_path):
    table = world(
        tmp_path, dict.fromkeys(TRAP_CHANGES, 0.5), {"Original": 0.5, "Distillable": 0.6, "Undistillable": 0.1}
    )
    verdicts = verdicts_of(table)
    assert {verdicts[f"{trap}-changes-correlate-with-outcomes"].value for trap in ("token-rkl", "wrong-trace")} == {
        "inconclusive"
    }


def test_influence_values_average_to_the_correlation_of_the_changes(tmp_path):
    accuracies = {"Original": 0.5, "Distillable": 0.6, "Undistillable": 0.1}
    table = world(tmp_path, TRAP_CHANGES, accuracies, seeds=(0,))
    from repro.evaluation.evaluate import metric_per_item
    from repro.evaluation.graded import read_outcomes

    right = {
        teacher: metric_per_item(read_outcomes(tmp_path / f"{student}-0" / ROLLOUTS), "acc")
        for teacher, student in STUDENT_OF.items()
    }
    points = []
    for task in TASKS:
        for teacher in ("Distillable", "Undistillable"):
            trap = table.mean(teacher, task, "token_rkl") / table.mean("Original", task, "token_rkl") - 1
            outcome = np.mean(list(right[teacher][task].values())) / np.mean(list(right["Original"][task].values())) - 1
            points.append((trap, outcome))
    expected = np.corrcoef(np.array(points).T)[0, 1]
    assert table.mean("Calibrated", "all tasks", "token_rkl_outcome_correlation") == pytest.approx(expected, abs=1e-9)


def test_the_spread_of_influence_values_is_the_standard_error():
    """Against drawing whole new worlds of items."""
    from repro.tables.measurements.trap_outcomes import _influence

    rng = np.random.default_rng(1)
    means = {"Original": (1.0, 0.5), "Distillable": (0.9, 0.55), "Undistillable": (1.3, 0.4)}

    def draw():
        traps = {(t, k): (rng.normal(m, 1, 60), np.ones(60)) for t, (m, _) in means.items() for k in TASKS}
        outcomes = {(t, k): (rng.binomial(8, a, 60) / 8, np.ones(60)) for t, (_, a) in means.items() for k in TASKS}
        return _influence(traps, outcomes, list(TASKS))

    worlds = [draw() for _ in range(300)]
    spread = np.std([values.mean() for values in worlds])
    claimed = np.median([values.std(ddof=1) / np.sqrt(len(values)) for values in worlds])
    assert claimed == pytest.approx(spread, rel=0.5)  # a correlation of four points is skewed


def test_the_table_shows_the_correlation_in_a_layout_of_its_own(tmp_path):
    table = world(tmp_path, TRAP_CHANGES, {"Original": 0.5, "Distillable": 0.6, "Undistillable": 0.1})
    assert layout_metrics(table) == ["token_rkl", "wrong_trace", *(f"{trap}_outcome_correlation" for trap in TRAPS)]
    assert set(measured_rows(table, metric="token_rkl")[0]) == {"row", *TASKS}
    (row,) = measured_rows(table, metric="token_rkl_outcome_correlation")
    assert set(row) == {"row", "all tasks"}


def test_the_papers_own_numbers_correlate_as_the_claims_note():
    table4, table2 = load("table4"), load("table2")

    def printed(table, label, family, column, metric):
        (cell,) = [c for c in table.select(columns=(column,), metric=metric, family=family) if table.label(c) == label]
        return cell.value

    claims = {claim.metrics[0]: claim.paper.note for claim in load_claims("table4")}
    for trap in TRAPS:
        for family, name in (("gemma3", "Gemma-3"), ("qwen3", "Qwen3")):
            points = [
                (
                    printed(table4, teacher, family, column, trap) / printed(table4, "Original", family, column, trap),
                    printed(table2, STUDENT_OF[teacher], family, column, "acc")
                    / printed(table2, "GKD-RKL", family, column, "acc"),
                )
                for teacher in ("Distillable", "Undistillable")
                for column in ("BM4", "BM5", "CSQA", "MMLU-Pro")
            ]
            correlation = np.corrcoef(np.array(points).T)[0, 1]
            assert f"{correlation:.2f} ({name})" in claims[f"{trap}_outcome_correlation"]
