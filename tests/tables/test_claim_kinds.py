"""Claims with a margin that the paper's words ask for, judged in worlds where they hold and where they do not."""

import re

import numpy as np
import pydantic
import pytest

from repro.errors import InputError
from repro.printed.claims import Claim
from repro.printed.load import load, load_claims
from repro.tables import MeasuredTable, merge_seeds
from repro.tables.metric_names import metric_name
from repro.tables.verdicts.sentences import claim_in_symbols
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import ClaimVerdict


def claim(claim_id: str) -> Claim:
    return next(c for c in load_claims() if c.id == claim_id)


def judge(claim_id: str, table: MeasuredTable) -> ClaimVerdict:
    return verdict(table, load(table.study), [claim(claim_id)], resamples=500).claims[0]


def world(
    study: str, rates: dict[str, dict[str, float]], metric: str = "acc", chance: dict[str, float] | None = None
) -> MeasuredTable:
    """Make a table of 16 samples of 200 items and three seeds. rates: row -> task -> true rate."""
    table = MeasuredTable(study, "toy", "qwen3", (0, 1, 2), chance=chance or {})
    rng = np.random.default_rng(1)
    for row, by_task in rates.items():
        for task, rate in by_task.items():
            ids = [f"{task}-{n}" for n in range(200)]
            values = rng.binomial(16, rate, (3, 200)) / 16
            weights = np.full((3, 200), 16.0) if metric == "wrong_trace" else None
            table.add(row, task, metric, ids, values, weights)
    return table


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [(0.5, 0.1, "reproduced"), (0.5, 0.4, "contradicted"), (0.5, 0.48, "contradicted"), (0.4, 0.2, "inconclusive")],
)
def test_a_collapse_is_a_loss_of_more_than_half(before, after, value):
    table = world("table2", {"Student": {"a": before}, "Misled": {"a": after}})
    judged = judge("misled-collapses-under-student", table)
    assert judged.value == value
    assert judged.estimate == pytest.approx(before / 2 - after, abs=0.02)
    assert judged.tasks[0].estimate == pytest.approx(before - after, abs=0.02)
    assert judged.statement == "Misled < 0.5 x Student"


COLLAPSES = [c.id for c in load_claims() if c.kind == "collapse"]


def test_every_claim_of_a_collapse_has_the_margin_and_the_floor():
    assert len(COLLAPSES) == 8
    assert {claim(name).margin for name in COLLAPSES} == {0.5}


@pytest.mark.parametrize("before", [0.2, 0.1])
def test_a_student_at_chance_cannot_collapse(before):
    """In Table 3's toy record such a fall was called reproduced: from 0.17 where a guess scores 0.2."""
    rates = {"Student": {"choice": before}, "Misled": {"choice": 0.01}}
    judged = judge("misled-collapses-under-student", world("table2", rates, chance={"choice": 0.2}))
    assert judged.value == "not testable"
    assert judged.estimate is None
    assert "choice (" in judged.text
    assert "chance 0.200" in judged.text
    assert judge("misled-collapses-under-student", world("table2", rates)).value == "reproduced"  # free answers


def test_tasks_at_chance_are_left_out_and_named():
    rates = {"Student": {"choice": 0.2, "free": 0.5}, "Misled": {"choice": 0.01, "free": 0.45}}
    table = world("table2", rates, chance={"choice": 0.2})
    report = verdict(table, load("table2"), [claim("misled-collapses-under-student")], resamples=500)
    assert report.claims[0].value == "contradicted"  # with the choice task half of the mean would be gone
    assert [task.task for task in report.claims[0].tasks] == ["free"]
    assert any("left out because Student is at chance: choice" in note for note in report.skipped)


def test_chance_travels_with_the_table():
    table = world("table2", {"Student": {"choice": 0.2}, "Misled": {"choice": 0.0}}, chance={"choice": 0.2})
    assert MeasuredTable.from_dict(table.to_dict()).chance == {"choice": 0.2}
    assert merge_seeds([table.only_seed(0), table.only_seed(1)]).chance == {"choice": 0.2}


def costs(calibration: float, distillation: float) -> MeasuredTable:
    table = MeasuredTable("table5", "toy", "qwen3", (0, 1, 2))
    rng = np.random.default_rng(0)
    for row, hours in (
        ("Teacher calibration (RFT, LoRA)", calibration),
        ("Student GKD w/ on-policy RKL", distillation),
    ):
        table.add(row, "pipeline", "gpu_hours", ["eta -1", "eta +0", "eta +1"], hours + rng.normal(0, 0.5, (3, 3)))
    return table


def test_undecided_costs_ask_for_no_more_values_of_eta():
    (judged,) = [judge("calibration-cost-comparable-to-gkd-rkl", costs(10.0, 20.1))]
    assert judged.value == "inconclusive"
    assert judged.text.endswith("its items are the study's values of eta, so no more can be sampled")
    assert (judged.needed_items, judged.needed_seeds) == (None, None)


@pytest.mark.parametrize(
    ("hours", "value"),
    [((141.5, 196.8), "reproduced"), ((50, 196.8), "contradicted"), ((196.8, 50), "contradicted")],
)
def test_comparable_costs_are_within_a_factor_of_two(hours, value):
    judged = judge("calibration-cost-comparable-to-gkd-rkl", costs(*hours))
    assert judged.value == value
    assert "within a factor of 2" in judged.statement


def teachers(smaller: float, larger: float, task: str = "CSQA") -> MeasuredTable:
    rates = {"Qwen3-8B": {task: smaller, "BM4": 0.3}, "Qwen3-14B": {task: larger, "BM4": 0.28}}
    return world("table1", rates, "wrong_trace")


@pytest.mark.parametrize(
    ("smaller", "larger", "value"),
    [(0.36, 0.33, "reproduced"), (0.5, 0.2, "contradicted"), (0.3, 0.5, "contradicted")],
)
def test_a_marginal_improvement_is_one_of_a_few_points(smaller, larger, value):
    assert judge("larger-teacher-misleads-less-qwen3-14b", teachers(smaller, larger)).value == value


def test_a_larger_teacher_that_is_worse_somewhere():
    worse = judge("larger-teacher-misleads-more-somewhere-qwen3-14b", teachers(0.3, 0.4))
    assert (worse.value, worse.rival) == ("reproduced", "Qwen3-14B, CSQA")
    assert judge("larger-teacher-misleads-more-somewhere-qwen3-14b", teachers(0.4, 0.3)).value == "contradicted"


@pytest.mark.parametrize(
    ("claim_id", "symbols"),
    [
        ("tail-dominates", "share of the KL of tail > 0.5"),
        ("no-frequency-effect-without-tail", "-1 <= frequency-KL correlation of K=1 <= 0.3"),
        ("token-rkl-changes-correlate-with-outcomes", "KL-outcome correlation of Calibrated < -0.3"),
        ("misled-collapses-under-student", "Misled < 0.5 x Student"),
        ("distillable-reduces-token-rkl", "Original > Distillable in token-level reverse KL on BM4/BM5/CSQA/MMLU-Pro"),
        ("token-kl-knowledge-above-math", "token-level reverse KL on CSQA/MMLU-Pro/superGPQA > on BM4/BM5"),
        ("token-kl-lower-variance", "log SD of sequence-level reverse KL > log SD of token-level reverse KL"),
        ("wrong-trace-over-half", "somewhere wrong-trace preference > 0.5"),
        (
            "larger-teacher-misleads-more-somewhere-qwen3-14b",
            "somewhere Qwen3-14B > Qwen3-8B in wrong-trace preference",
        ),
        ("larger-teacher-misleads-less-qwen3-14b", "0 <= Qwen3-8B - Qwen3-14B <= 0.05 in wrong-trace preference"),
        ("improve-beats-baselines-pass16", "Improve > each of SFT and GKD-FKL and GKD-RKL in pass@16"),
        ("sweep-wrong-trace-falls", "wrong-trace preference of Traps falls with eta"),
        (
            "calibration-cost-comparable-to-gkd-rkl",
            "Student GKD w/ on-policy RKL and Teacher calibration (RFT, LoRA) within a factor of 2 in GPU-hours or core-hours",
        ),
    ],
)
def test_a_statement_names_what_it_compares(claim_id, symbols):
    assert claim_in_symbols(claim(claim_id)) == symbols


@pytest.mark.parametrize("stored_claim", load_claims(), ids=lambda claim: f"{claim.study}-{claim.id}")
def test_no_statement_has_an_id_of_a_metric(stored_claim):
    statement = claim_in_symbols(stored_claim)
    assert not re.search(r"[a-z]_[a-z]|\b(acc|maj|pass)\d*\b(?!@)", statement)
    metrics = {*stored_claim.metrics} - {"acc", "reward"}
    if metrics:
        assert any(metric_name(metric) in statement for metric in metrics)


def test_below():
    below = claim("wrong-trace-over-half").model_copy(update={"kind": "below", "low": None, "high": 0.5})
    table = teachers(0.3, 0.3)
    assert verdict(table, load("table1"), [below], resamples=500).claims[0].value == "reproduced"
    table = teachers(0.9, 0.9)
    assert verdict(table, load("table1"), [below], resamples=500).claims[0].value == "contradicted"


@pytest.mark.parametrize(
    ("claim_id", "changes"),
    [
        ("misled-collapses-under-student", {"margin": 0.0}),
        ("misled-collapses-under-student", {"right": ()}),
        ("calibration-cost-comparable-to-gkd-rkl", {"factor": None}),
        ("larger-teacher-misleads-less-qwen3-14b", {"high": None}),
        ("student-under-teacher", {"factor": 2.0}),
    ],
)
def test_a_kind_asks_for_its_own_fields(claim_id, changes):
    with pytest.raises(pydantic.ValidationError):
        Claim.model_validate(claim(claim_id).model_dump() | changes)


@pytest.mark.parametrize(
    "chance", ["0.2", {"choice": "0.2"}, {"choice": None}, {"choice": float("nan")}, {"choice": 20}]
)
def test_a_chance_that_is_no_share_is_refused_when_a_result_is_read(chance):
    content = world("table2", {"Student": {"choice": 0.2}}).to_dict() | {"chance": chance}
    with pytest.raises(InputError, match="the chance level"):
        MeasuredTable.from_dict(content)


@pytest.mark.parametrize(
    ("gained", "of", "value"),
    [(0.28, 0.3, "reproduced"), (0.05, 0.3, "contradicted"), (0.24, 0.3, "inconclusive"), (0.2, 0.0, "not testable")],
)
def test_a_recovery_asks_for_a_share_of_a_gain(gained: float, of: float, value: str) -> None:
    table = MeasuredTable("guards", "toy", "qwen3", (0, 1, 2))
    rng = np.random.default_rng(0)
    ids = [f"item{n}" for n in range(200)]
    for row, gain in (("own-answers under knob", gained), ("sft under none", of)):
        table.add(row, "toy-bm4", "gain", ids, rng.normal(gain, 0.1, (3, 200)))
    conclusion = judge("guards-own-answers-break-knob", table)
    assert conclusion.value == value
    assert conclusion.statement == "own-answers under knob > 0.8 x sft under none in gain"
    if conclusion.estimate is not None:
        left, right = (table.mean(row, "toy-bm4", "gain") for row in ("own-answers under knob", "sft under none"))
        assert conclusion.estimate == pytest.approx(left - 0.8 * right)


def test_an_unrealistic_number_of_items_is_not_asked_for() -> None:
    table = MeasuredTable("guards", "toy", "qwen3", (0, 1, 2))
    rng = np.random.default_rng(0)
    ids = [f"item{n}" for n in range(200)]
    noise = np.tile(rng.normal(0, 0.1, 200), (3, 1))  # trainings do not differ: items alone could decide
    for row, mean in (
        ("Teacher under doge", 0.48 + 5e-4),
        ("Teacher under none", 0.5),
    ):  # at the edge of the margin of 0.02
        table.add(row, "toy-bm4", "acc", ids, mean + (noise - noise.mean() if row.endswith("doge") else 0 * noise))
    conclusion = judge("guards-teacher-kept-under-doge", table)
    assert conclusion.value == "inconclusive"
    assert conclusion.open_question.startswith("no realistic number of items or seeds")
    assert (conclusion.needed_items, conclusion.needed_seeds) == (None, None)


def test_bounds_that_are_not_about_equality_are_not_called_that():
    """0 <= smaller - larger <= 0.05: what more items would decide is whether the difference lies there."""
    table = MeasuredTable("table1", "toy", "qwen3", (0,))
    for row, rates in (("Qwen3-8B", [0.8, 0.25]), ("Qwen3-14B", [0.4, 0.6])):
        table.add(row, "CSQA", "wrong_trace", [str(n) for n in range(20)], [rates * 10])
    judged = judge("larger-teacher-misleads-less-qwen3-14b", table)
    assert judged.value == "inconclusive"
    assert judged.text.endswith("would decide it if the difference is midway between the bounds")


def test_what_is_idle_is_named_beside_tasks_at_chance():
    rates = {"Student": {"choice": 0.2, "free": 0.5}, "Misled": {"choice": 0.01, "free": 0.01}}
    table = world("table2", rates, chance={"choice": 0.2})
    table.idle = {"Misled": {"free": ("not moved",) * len(table.seeds)}}
    report = verdict(table, load("table2"), [claim("misled-collapses-under-student")], resamples=500)
    assert report.claims[0].text.startswith(
        "not testable: Student is at chance on every task that is not idle, choice ("
    )
    assert any("left out because idle: Misled on free: not moved" in note for note in report.skipped)


def test_a_claim_of_somewhere_loses_cells_not_tasks():
    table = world("table1", {"Qwen3-14B": {"a": 0.8, "b": 0.5}, "Qwen3-8B": {"a": 0.2, "b": 0.5}}, "wrong_trace")
    table.idle = {"Qwen3-14B": {"b": ("not moved",) * len(table.seeds)}}
    name = "larger-teacher-misleads-more-somewhere-qwen3-14b"
    report = verdict(table, load("table1"), [claim(name)], resamples=500)
    assert report.skipped == (
        f"{name} (qwen3): cells left out because idle: Qwen3-14B on b: not moved at seed 0 (also idle at 1, 2)",
    )
