"""Trend and monotone claims, and the curves of the sweep, on worlds whose answer is known."""

import numpy as np
import pytest
from scipy import special

from repro.errors import InputError
from repro.printed.claims import Claim
from repro.printed.load import load
from repro.recipes.labels import at_eta
from repro.tables import MeasuredTable
from repro.tables.verdicts.eta_curves import CURVES, curve_points, find_eta_limits, trend_tests, values_by_seed
from repro.tables.verdicts.verdict import verdict

ETAS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
STORED = load("eta-sweep")


def world(effect, seeds=3, items=200, name="GKD-RKL", rng=0, etas=ETAS):
    """Return a sweep whose accuracy at eta has the logit effect(eta)."""
    generator = np.random.default_rng(rng)
    table = MeasuredTable("eta-sweep", "toy", "qwen3", tuple(range(seeds)), etas=tuple(etas))
    for task in ("one", "two"):
        ids = [f"{task}-{n}" for n in range(items)]
        difficulty_N = generator.normal(0, 1, items)
        rows = {"Teacher": 2.0, "Student": -1.0} | {at_eta(name, eta): effect(eta) for eta in etas}
        for row, logit in rows.items():
            noise_S1 = generator.normal(0, 0.05, (seeds, 1))
            table.add(
                row, task, "acc", ids, generator.binomial(16, special.expit(difficulty_N + logit + noise_S1)) / 16
            )
    return table


def claim(kind, direction="rises", margin=0.0):
    return Claim(
        id="c", study="eta-sweep", kind=kind, role="control", metrics=("acc",), left={"row": "GKD-RKL"}, margin=margin,
        direction=direction, training=True, quote="ten letters", section="ours", provenance="ASSUMED",
        paper={"bears_out": "not printed"},
    )  # fmt: skip


def judge(table, *claims):
    return verdict(table, STORED, claims, resamples=2_000).claims


def test_rows_along_eta_are_found_by_their_eta():
    assert at_eta("SFT", 0.0) == at_eta("SFT", -0.0) == "SFT, eta +0"
    table = MeasuredTable("eta-sweep", "toy", "qwen3", (0,), etas=(2.0, -1.0, 0.0, 1.0))
    for row in (at_eta("A", 2), at_eta("A", -1), at_eta("A", 0), "A", at_eta("B", 1)):
        table.add(row, "one", "acc", ["a", "b"], [[0.0, 1.0]])
    assert table.rows_along_eta("A") == [(-1, "A, eta -1"), (0, "A, eta +0"), (2, "A, eta +2")]
    assert table.rows_along_eta("C") == []


@pytest.mark.parametrize(
    ("effect", "direction", "value"),
    [
        (lambda x: 0.5 * x, "rises", "reproduced"),
        (lambda x: 0.5 * x, "falls", "contradicted"),
        (lambda x: -0.5 * x, "falls", "reproduced"),
        (lambda x: 0.0, "rises", "inconclusive"),
    ],
)
def test_a_trend_has_three_values(effect, direction, value):
    (result,) = judge(world(effect), claim("trend", direction))
    assert result.value == value


def test_the_estimate_is_the_least_squares_slope():
    table = world(lambda x: 0.5 * x)
    (rises,) = judge(table, claim("trend"))
    mean_E = values_by_seed(table, CURVES[1]).mean(axis=0)
    assert rises.estimate == pytest.approx(np.polyfit(ETAS, mean_E, 1)[0])
    (falls,) = judge(table, claim("trend", "falls"))
    assert falls.estimate == pytest.approx(-rises.estimate)


def test_a_slight_trend_is_inconclusive_with_one_training_seed():
    (result,) = judge(world(lambda x: 0.02 * x, seeds=1, items=1_000), claim("trend"))
    assert result.value == "inconclusive"
    assert result.capped


def test_a_dip_contradicts_monotone_and_names_its_step():
    dip = {0.5: -2.0}
    (dipped,) = judge(world(lambda x: dip.get(x, x)), claim("monotone", margin=0.05))
    assert dipped.value == "contradicted"
    assert dipped.rival == "eta +0 to +0.5"
    (smooth,) = judge(world(lambda x: x, items=2_000), claim("monotone", margin=0.05))
    assert smooth.value == "reproduced"


def test_a_sweep_of_two_points_is_skipped_with_a_reason():
    report = verdict(world(lambda x: x, etas=(-1.0, 1.0)), STORED, [claim("trend")])
    assert not report.claims
    assert "at 2 values of eta, but a curve needs 3" in report.skipped[0]


def test_false_alarms_of_a_flat_curve():
    """Twenty flat worlds at 5 %: more than four conclusive ones have probability 0.003."""
    values = [judge(world(lambda x: 0.0, items=60, rng=n), claim("trend"))[0].value for n in range(20)]
    assert sum(value != "inconclusive" for value in values) <= 4


def test_page_and_kendall():
    rising = trend_tests(world(lambda x: 0.8 * x), CURVES[1])
    assert rising.page_p < 1e-4
    assert rising.tau > 0.9
    assert rising.steps >= 7
    assert trend_tests(world(lambda x: -0.8 * x), CURVES[1]).page_p > 0.99
    alone = trend_tests(world(lambda x: 0.8 * x, seeds=1), CURVES[1])
    assert alone.page_l is None
    assert alone.tau_p < 0.01


def test_a_falling_curve_that_should_fall_is_a_trend():
    """Length should fall: the test is the same with opposite signs, tau is that of the curve."""
    table = MeasuredTable("eta-sweep", "toy", "qwen3", (0, 1), etas=ETAS)
    for n, eta in enumerate(ETAS):
        tokens = [[20.0 - n, 21.0 - n, 22.0 - n], [19.5 - n, 21.0 - n, 22.0 - n]]
        table.add(at_eta("Teacher", eta), "one", "tokens", ["a", "b", "c"], tokens)
    trend = trend_tests(table, CURVES[5])
    assert trend.tau == -1
    assert trend.steps == trend.of == 8
    assert trend.page_p < 1e-4


def test_a_constant_curve_has_no_trend():
    table = MeasuredTable("eta-sweep", "toy", "qwen3", (0, 1), etas=ETAS)
    for eta in ETAS:
        table.add(at_eta("Teacher", eta), "one", "tokens", ["a", "b"], [[5.0, 6.0], [5.0, 6.0]])
    assert trend_tests(table, CURVES[5]).tau_p == 1.0


def test_eta_limits_are_where_the_teacher_breaks_and_the_student_falls():
    teacher = world(lambda x: 3.0 if x >= -1 else -1.0, name="Teacher", items=600)
    student = world(lambda x: -1.0 if x >= -0.5 else -3.0, items=600)
    for key, values in student.values.items():
        if key not in teacher.values:
            teacher.add(*key, teacher.items[key[1]], values.values_SN)
    limits = find_eta_limits(teacher, "GKD-RKL")
    assert (limits.kept_from, limits.kept_to) == (-1.0, 2.0)
    assert limits.lost_at == [-2.0, -1.5, -1.0]


def test_an_unsure_loss_at_the_lowest_eta_does_not_hide_the_others():
    student = world(lambda x: -1.0 if x >= -0.5 or x == -2 else -3.0, items=600)
    assert find_eta_limits(student, "GKD-RKL").lost_at == [-1.5, -1.0]


def test_points_against_a_row_are_differences():
    table = world(lambda x: x)
    plain, against = curve_points(table, CURVES[1]), curve_points(table, CURVES[1], against="Student")
    student = np.mean([table.mean("Student", task, "acc") for task in table.tasks])
    assert [p.value - student for p in plain] == pytest.approx([p.value for p in against])
    assert all(p.low < p.value < p.high for p in plain)


@pytest.mark.parametrize("wrong", [{"direction": None}, {"kind": "monotone"}, {"kind": "trend", "margin": 0.1}])
def test_a_trend_claim_needs_a_direction_and_takes_no_margin(wrong):
    content = claim("trend").model_dump() | wrong
    with pytest.raises(ValueError, match=r"direction|margin"):
        Claim.model_validate(content)


def test_a_sweep_is_not_judged_against_another_study():
    with pytest.raises(InputError, match="another study"):
        verdict(world(lambda x: x), load("controls"), [claim("trend")])


def test_a_task_missing_at_one_eta_is_left_out_of_the_curve():
    """Without a solved prompt there is no wrong-trace preference: a mean over fewer tasks would look like a step."""
    table = MeasuredTable("eta-sweep", "toy", "qwen3", (0, 1), etas=ETAS)
    for n, eta in enumerate(ETAS):
        table.add(at_eta("Traps", eta), "one", "wrong_trace", ["a", "b"], [[0.5 - n / 20] * 2] * 2)
        if eta != 0.5:
            table.add(at_eta("Traps", eta), "two", "wrong_trace", ["a", "b"], [[1.0, 1.0]] * 2)
    assert [p.value for p in curve_points(table, CURVES[4])] == pytest.approx([0.5 - n / 20 for n in range(9)])
    assert trend_tests(table, CURVES[4]).steps == 8
    report = verdict(table, STORED)
    (judged,) = [v for v in report.claims if v.claim == "sweep-wrong-trace-falls"]
    assert judged.estimate == pytest.approx(0.1)
    assert any("sweep-token-rkl-falls" in reason and "at every eta" in reason for reason in report.skipped)


def test_a_curve_without_any_task_is_empty():
    table = world(lambda x: x)
    assert curve_points(table, CURVES[3]) == []
    assert trend_tests(table, CURVES[3]) is None
