"""Per-prompt values: their weighted mean is the statistic, their spread its standard error."""

import numpy as np
import pytest

from repro.diagnosis.influence import influence_values
from repro.diagnosis.panel import panel, plain
from repro.diagnosis.per_prompt import per_prompt_values
from repro.traps import importance_weighted_rkl, wrong_trace_preference

KS = (1, 300)


def weighted_mean(measure):
    return float((measure.value_P * measure.weight_P).sum() / measure.weight_P.sum())


@pytest.mark.parametrize("policy", ["student", "teacher"])
def test_the_mean_over_prompts_is_the_panels_value(make_columns, policy):
    columns = make_columns(policy)
    panel_values = {row["measure"]: row["value"] for row in panel(columns, KS, resamples=10, seed=0)}
    measures = {measure.metric: measure for measure in per_prompt_values(columns, KS)}
    names = panel_values.keys() & measures.keys()
    assert len(names) >= 7
    for name in names:
        assert weighted_mean(measures[name]) == pytest.approx(panel_values[name], rel=1e-9), name


def test_influence_values_average_to_the_statistic(make_columns):
    c = make_columns("teacher")
    measures = {measure.metric: measure for measure in per_prompt_values(c, KS)}
    log_w = c["student_log_prob"] - c["teacher_log_prob"]
    w = np.exp(log_w)
    estimate = importance_weighted_rkl(c["student_log_prob"], c["teacher_log_prob"])
    expected = {
        "weight_waste": 1 - estimate.effective_sample_size / len(w),
        "log_weight_error": abs(np.log(estimate.mean_weight)),
        "log_sd_is_rkl": np.log(np.std(w * log_w, ddof=1)),
        "log_sd_is_k3": np.log(np.std(1 - w + w * log_w, ddof=1)),
    }
    # The mean of influence values is the statistic: their deviations add up to zero
    for name, value in expected.items():
        assert weighted_mean(measures[name]) == pytest.approx(value, rel=1e-9), name


def test_the_spread_of_influence_values_is_the_standard_error():
    rng = np.random.default_rng(0)
    P, trials = 40, 400
    estimates, standard_errors = [], []
    for _ in range(trials):
        x = rng.normal(0, 1, P)
        without = np.array([np.delete(x, n).std(ddof=1) for n in range(P)])
        values = influence_values(x.std(ddof=1), without)
        estimates.append(x.std(ddof=1))
        standard_errors.append(values.std(ddof=1) / np.sqrt(P))
    assert np.mean(standard_errors) == pytest.approx(np.std(estimates), rel=0.15)


def test_huge_weights_do_not_overflow(make_columns):
    c = make_columns("teacher")
    c.values["student_log_prob"] = c.values["student_log_prob"] + 2000 * (c.prompt_n == 3)
    measures = {measure.metric: measure for measure in per_prompt_values(c, KS)}
    assert not measures["is_rkl"].is_usable
    for name in ("weight_waste", "log_weight_error", "log_sd_is_rkl", "log_sd_is_k3"):
        assert measures[name].is_usable, name
    assert weighted_mean(measures["weight_waste"]) > 0.9


def test_open_tasks_have_no_wrong_traces(make_columns):
    c = make_columns("student")
    names = {measure.metric for measure in per_prompt_values(c, KS)}
    ungraded = type(c)(c.policy, c.task, c.items, c.prompt_n, None, c.values)
    assert names - {measure.metric for measure in per_prompt_values(ungraded, KS)} == {
        "wrong_trace",
        "wrong_trace_per_prompt",
        "wrong_trace_length_only",
        "wrong_trace_length_matched",
        "unanswered_trace",
        "unanswered_share",
    }


def test_traces_without_an_answer_are_no_wrong_traces(make_columns):
    """The paper's wrong traces "eventually end in wrong answers"; a cut trace is the longest, and its loss lacks an end."""
    c = make_columns("student")
    assert 0 < (~c.answered).sum() < (~c.correct).sum()
    loss = c["student_log_prob"] - c["teacher_log_prob"]
    measures = {measure.metric: weighted_mean(measure) for measure in per_prompt_values(c, KS)}
    for name, is_kept in (("wrong_trace", c.correct | c.answered), ("unanswered_trace", ~c.answered | c.correct)):
        columns = (loss, c.correct, c.prompt_n, c["tokens"])
        expected = wrong_trace_preference(*(column[is_kept] for column in columns)).pooled
        assert measures[name] == pytest.approx(expected)
    together = wrong_trace_preference(loss, c.correct, c.prompt_n, c["tokens"]).pooled
    assert measures["wrong_trace"] != pytest.approx(together)
    assert measures["unanswered_share"] == pytest.approx((~c.answered).sum() / (~c.correct).sum())


def test_prompts_with_different_numbers_of_completions(make_columns):
    even = make_columns("student", size=4)
    is_kept = np.arange(len(even.prompt_n)) != 0
    uneven = type(even)(
        even.policy,
        even.task,
        even.items,
        even.prompt_n[is_kept],
        even.correct[is_kept],
        {k: v[is_kept] for k, v in even.values.items()},
        even.answered[is_kept],
    )
    panel_values = {row["measure"]: row["value"] for row in panel(uneven, KS, resamples=5, seed=0)}
    loss = uneven["student_log_prob"] - uneven["teacher_log_prob"]
    ends = uneven.correct | uneven.answered
    columns = (loss, uneven.correct, uneven.prompt_n, uneven["tokens"])
    expected = wrong_trace_preference(*(column[ends] for column in columns))
    assert panel_values["wrong_trace"] == pytest.approx(expected.pooled)


def test_numbers_that_json_cannot_hold_become_strings():
    assert [plain(x) for x in (1.5, float("inf"), float("-inf"), float("nan"))] == [1.5, "inf", "-inf", "nan"]
