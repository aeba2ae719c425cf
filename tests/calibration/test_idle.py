"""A training that left its teacher where it was is idle; one that moved it is not, whatever a single step says."""

import pytest

from repro.calibration.idle import FLAT_STEPS, IDLE_KL, find_idleness

BOTH = ("task_reward", "r_cal")


def history(kl, task_flat=0.5, r_cal_flat=0.0, steps=20):
    kls = kl if isinstance(kl, list) else [kl] * steps
    return [{"kl": x, "task_reward_flat_groups": task_flat, "r_cal_flat_groups": r_cal_flat} for x in kls]


@pytest.mark.parametrize(
    ("kl", "is_idle"), [(3e-5, True), (0.99 * IDLE_KL, True), (1.01 * IDLE_KL, False), (0.3, False)]
)
def test_a_teacher_at_its_start_is_idle(kl, is_idle):
    reason = find_idleness(history(kl), BOTH)
    assert (reason is not None) == is_idle
    if reason:
        assert f"{kl:.1e} nats per token" in reason


def test_where_it_ends_decides_and_no_rare_token_of_a_single_step():
    assert find_idleness(history([0.0] * 15 + [0.3] * 5), BOTH) is None
    assert find_idleness(history([0.3] * 15 + [2e-5] * 5), BOTH)
    assert find_idleness(history([3e-5] * 18 + [3e-3, 3e-5]), BOTH), "a step's estimate with one rare token"


def test_a_training_without_gradient_is_idle_however_far_the_estimate_says_it_went():
    assert find_idleness(history(0.3, task_flat=1.0), ("task_reward",)) == (
        "the teacher was hardly trained: in 20 of 20 steps, rewards were equal within every group"
    )
    assert find_idleness(history(0.3, task_flat=1.0), BOTH) is None, "the other reward had a gradient"
    assert find_idleness(history(0.3, task_flat=1.0, r_cal_flat=1.0), BOTH)
    rows = history(0.3, task_flat=1.0)[: round(20 * FLAT_STEPS) - 1]
    assert find_idleness([*rows, *history(0.3, task_flat=0.9, steps=20 - len(rows))], ("task_reward",)) is None


def test_without_an_anchor_the_summary_has_the_distance():
    rows = [{"task_reward_flat_groups": 0.2}] * 3
    assert find_idleness(rows, BOTH, 2e-4)
    assert find_idleness(rows, BOTH, 0.2) is None
    assert find_idleness(rows, BOTH) is None, "an unknown distance is no verdict"
