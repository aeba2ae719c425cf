"""Per-prompt values: their weighted mean is the statistic, their spread its standard error."""

import numpy as np
import pytest

from repro.diagnosis.influence import influence_values
from repro.diagnosis.panel import panel, plain
from repro.diagnosis.per_prompt import per_prompt_values
from repro.traps import importance_weighted_rkl, wrong_trace_preference

KS = (1, 300)


def whole(value):
    return float((value.value_P * value.weight_P).sum() / value.weight_P.sum())


@pytest.mark.parametrize("policy", ["student", "teacher"])
def test_the_mean_over_prompts_is_the_panels_value(made_up, policy):
    columns = made_up(policy)
    shown = {one["measure"]: one["value"] for one in panel(columns, KS, resamples=10, seed=0)}
    values = {one.metric: one for one in per_prompt_values(columns, KS)}
    both = shown.keys() & values.keys()
    assert len(both) >= 7
    for name in both:
        assert whole(values[name]) == pytest.approx(shown[name], rel=1e-9), name


def test_influence_values_average_to_the_statistic(made_up):
    c = made_up("teacher")
    values = {one.metric: one for one in per_prompt_values(c, KS)}
    log_w = c["student_log_prob"] - c["teacher_log_prob"]
    w = np.exp(log_w)
    healthy = importance_weighted_rkl(c["student_log_prob"], c["teacher_log_prob"])
    expected = {
        "weight_waste": 1 - healthy.effective_sample_size / len(w),
        "log_weight_error": abs(np.log(healthy.mean_weight)),
        "log_sd_is_rkl": np.log(np.std(w * log_w, ddof=1)),
        "log_sd_is_k3": np.log(np.std(1 - w + w * log_w, ddof=1)),
    }
    # The mean of influence values differs from the statistic by nothing: their deviations add up to zero
    for name, value in expected.items():
        assert whole(values[name]) == pytest.approx(value, rel=1e-9), name


def test_the_spread_of_influence_values_is_the_standard_error():
    rng = np.random.default_rng(0)
    P, trials = 40, 400
    estimates, claimed = [], []
    for _ in range(trials):
        x = rng.normal(0, 1, P)
        without = np.array([np.delete(x, n).std(ddof=1) for n in range(P)])
        values = influence_values(x.std(ddof=1), without)
        estimates.append(x.std(ddof=1))
        claimed.append(values.std(ddof=1) / np.sqrt(P))
    assert np.mean(claimed) == pytest.approx(np.std(estimates), rel=0.15)


def test_huge_weights_do_not_overflow(made_up):
    c = made_up("teacher")
    c.values["student_log_prob"] = c.values["student_log_prob"] + 2000 * (c.prompt_n == 3)
    values = {one.metric: one for one in per_prompt_values(c, KS)}
    assert not values["is_rkl"].usable
    for name in ("weight_waste", "log_weight_error", "log_sd_is_rkl", "log_sd_is_k3"):
        assert values[name].usable, name
    assert whole(values["weight_waste"]) > 0.9


def test_open_tasks_have_no_wrong_traces(made_up):
    c = made_up("student")
    named = {one.metric for one in per_prompt_values(c, KS)}
    ungraded = type(c)(c.policy, c.task, c.items, c.prompt_n, None, c.values)
    assert named - {one.metric for one in per_prompt_values(ungraded, KS)} == {
        "wrong_trace",
        "wrong_trace_per_prompt",
        "wrong_trace_length_only",
        "wrong_trace_length_matched",
    }


def test_uneven_prompts_are_paired_too(made_up):
    even = made_up("student", size=4)
    keep = np.arange(len(even.prompt_n)) != 0
    uneven = type(even)(
        even.policy,
        even.task,
        even.items,
        even.prompt_n[keep],
        even.correct[keep],
        {k: v[keep] for k, v in even.values.items()},
    )
    shown = {one["measure"]: one["value"] for one in panel(uneven, KS, resamples=5, seed=0)}
    loss = uneven["student_log_prob"] - uneven["teacher_log_prob"]
    expected = wrong_trace_preference(loss, uneven.correct, uneven.prompt_n, uneven["tokens"])
    assert shown["wrong_trace"] == pytest.approx(expected.pooled)


def test_numbers_that_json_lacks_become_words():
    assert [plain(x) for x in (1.5, float("inf"), float("-inf"), float("nan"))] == [1.5, "inf", "-inf", "nan"]
