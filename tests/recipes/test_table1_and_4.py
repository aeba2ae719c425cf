"""Plans of Tables 1 and 4 and Figure 2: every pair, shared stages, tasks of every kind."""

from dataclasses import replace

import pytest

from repro.errors import InputError
from repro.planner.cards import H100
from repro.planner.host_memory import host_memory
from repro.planner.hours import expected_hours
from repro.planner.placement import Cards, place
from repro.planner.resources import Resources
from repro.planner.roofline import SCORING, stage_seconds
from repro.planner.tokens import planned_tokens
from repro.printed.load import load
from repro.recipes import paper
from repro.recipes.catalog import plan
from repro.recipes.table1_and_4 import STUDENT_OF
from repro.stages import Calibrate, Diagnose, Distill
from repro.tasks import registry


def fingerprints(study, kind):
    return {stage.fingerprint for stage in study.stages() if isinstance(stage, kind)}


def test_table4_shares_the_calibrations_of_table2():
    table2, table4 = (plan(name, scale="toy", seeds=2) for name in ("table2", "table4"))
    assert fingerprints(table4, Calibrate) == fingerprints(table2, Calibrate)
    assert len(fingerprints(table4, Calibrate)) == 6
    assert fingerprints(table4, Distill) <= fingerprints(table2, Distill)
    labels = {row.method for row in table4.rows}
    stored = load("table4")
    assert {stored.label(cell) for cell in stored.cells} < labels
    assert labels - {"Original", "Distillable", "Undistillable"} == {"Eta0", *STUDENT_OF.values()}
    for row in table4.rows:
        if row.method in STUDENT_OF.values():
            (same,) = [r for r in table2.rows if (r.method, r.seed) == (row.method, row.seed)]
            assert row.stage == same.stage


def test_figure2_reads_the_diagnoses_of_table1():
    table1, figure2 = (plan(name, scale="toy", seeds=1) for name in ("table1", "figure2"))
    assert fingerprints(table1, Diagnose) == fingerprints(figure2, Diagnose)
    assert table1.families == ("qwen3", "gemma3")
    assert {registry.kind_of(task) for task in table1.tasks} == {"numeric", "choice", "open"}


def test_every_pair_of_the_paper_is_there_under_its_printed_name():
    study, stored = plan("table1", scale="paper", seeds=1), load("table1")
    printed = {(cell.row["family"], stored.label(cell)) for cell in stored.cells}
    assert {(row.family, row.method) for row in study.rows} == printed
    assert study.tasks == paper.SEVEN_TASKS
    assert all(row.stage.off_policy for row in study.rows)


def test_the_users_tasks_override_the_studys():
    assert plan("table1", scale="toy", families=("qwen3",), seeds=1, assignments=["tasks=toy-bm5"]).tasks == (
        "toy-bm5",
    )
    assert plan("table1", scale="toy", families=("gemma3",), seeds=1).families == ("gemma3",)


def test_a_single_completion_per_prompt_is_refused_in_the_plan():
    with pytest.raises(InputError, match="completions_per_prompt=1"):
        plan("table1", scale="toy", seeds=1, assignments=["evaluation.completions_per_prompt=1"])


def test_completions_belong_to_the_models_that_sampled_them():
    stage = plan("table1", scale="toy", families=("qwen3",), seeds=1).rows[0].stage
    with pytest.raises(ValueError, match="on-policy completions are the student's"):
        Diagnose.model_validate(dict(stage) | {"on_policy": stage.off_policy})
    fewer = stage.off_policy.model_copy(update={"data": stage.data[:1]})
    with pytest.raises(ValueError, match="same items"):
        Diagnose.model_validate(dict(stage) | {"off_policy": fewer})


def test_hours_grow_with_the_teacher():
    rows = plan("table1", scale="paper", families=("qwen3",), seeds=1).rows
    hours = {row.method: expected_hours(row.stage, "paper") for row in rows}
    assert hours["Qwen3-8B"] < hours["Qwen3-14B"] < hours["Qwen3-32B"]


def test_a_diagnosis_is_split_over_the_ranks_and_stays_the_same_stage():
    stage = plan("table1", scale="paper", families=("qwen3",), seeds=1).rows[-1].stage
    layouts = {ranks: place(stage, Cards(8, 78.0), Resources(ranks=ranks)).layout for ranks in (1, 2, 8)}
    assert {ranks: layout.ranks for ranks, layout in layouts.items()} == {1: 1, 2: 2, 8: 8}
    assert host_memory(stage, layouts[8]).total > 7 * host_memory(stage, layouts[1]).total


def test_hours_of_a_diagnosis_follow_the_roofline():
    """By hand: 2 products per weight and token, of both models, at the share that was measured; attention adds some."""
    rows = {row.method: row.stage for row in plan("table1", scale="paper", families=("qwen3",), seeds=1).rows}
    stage = rows["Qwen3-32B"]
    tokens = planned_tokens(stage) * (8192 + 256) / 8192
    by_hand = 2 * (32.76e9 + 1.72e9) * tokens / (SCORING * H100.flops) / 3600
    assert expected_hours(stage, "paper") == pytest.approx(1.3 * by_hand, rel=0.2)
    bytes_alone = replace(H100, flops=1e30, layer_seconds=0.0, load_seconds=0.0)
    faster = replace(
        bytes_alone, bandwidth=2 * H100.bandwidth
    )  # then a card of twice the bandwidth takes half the time
    assert stage_seconds(stage, bytes_alone) == pytest.approx(2 * stage_seconds(stage, faster))
    assert stage_seconds(stage, bytes_alone) < stage_seconds(stage, H100)
