"""Rewards in r_cal's place: what each pays for, that they repeat, and that they leave the trainer's random numbers alone."""

import json

import pydantic
import pytest
import torch
from calibration.test_trainer import config, constant, lines, run

from repro.calibration.advantages import group_z
from repro.calibration.control_rewards import ControlReward
from repro.calibration.reward import TargetScorer
from repro.models.loading import load_tokenizer

IDS = [[1, 2, 3], [3, 3], [], [4]]
TEXTS = ["Wait, no", "yes", "", "wait"]


def reward(name, seed=0, step=0, rank=0, **changes):
    return ControlReward(config(reward=name, **changes), 5, seed)(IDS, TEXTS, step=step, rank=rank)


def test_style_and_length_pay_for_what_they_name():
    assert reward("style").tolist() == [1, 0, 0, 0]
    assert reward("style", style_text="wait").tolist() == [0, 0, 0, 1]
    assert reward("length").tolist() == [3, 2, 0, 1]


def test_a_taste_is_fixed_by_its_seed_and_is_the_mean_over_tokens():
    taste = reward("taste")
    weights = [ControlReward(config(reward="taste"), 5, 0)([[n]], [""], step=9).item() for n in range(5)]
    assert taste.tolist() == pytest.approx([sum(weights[1:4]) / 3, weights[3], 0, weights[4]])
    assert torch.equal(taste, reward("taste", step=7, rank=3))
    assert not torch.equal(taste, reward("taste", seed=1))


def test_noise_is_new_at_each_step_rank_and_seed_and_repeats():
    draws = [reward("null", seed, step, rank) for seed, step, rank in ((0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0))]
    assert torch.equal(draws[0], reward("null"))
    assert len({tuple(draw.tolist()) for draw in draws}) == 4
    many = ControlReward(config(reward="null"), 5, 0)([[]] * 10_000, [""] * 10_000, step=3)
    assert abs(many.mean()) < 0.05
    assert abs(many.std() - 1) < 0.05


def test_random_numbers_of_the_trainer_are_left_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for name in ("null", "style", "length", "taste"):
        reward(name)
    assert torch.equal(state, torch.get_rng_state())


def test_an_unknown_reward_is_refused():
    with pytest.raises(pydantic.ValidationError, match="r_cal"):
        config(reward="luck")


def test_settings_of_controls_are_no_part_of_the_papers_identity():
    plain = config().model_dump(mode="json")
    assert config().identity() == config(style_text="think").identity()
    assert set(plain) - set(config().identity()) == {"reward", "style_text"}
    assert "style_text" not in config(reward="length", style_text="think").identity()
    assert config(reward="style").identity() != config(reward="style", style_text="think").identity()


def test_a_calibration_takes_its_advantages_from_the_control(tmp_path, teacher, student, items):
    """With r_task flat and lengths as the reward the advantage is eta times the z-score of the lengths."""
    run(tmp_path / "length", teacher, student, items, reward="length", task_reward=constant, eta=-0.5, steps=1)
    run(tmp_path / "r_cal", teacher, student, items, task_reward=constant, eta=-0.5, steps=1)
    (row,), (paper,) = lines(tmp_path / "length" / "out"), lines(tmp_path / "r_cal" / "out")
    assert row["control_reward"] == pytest.approx(row["length"])
    assert row["control_reward_length_correlation"] == pytest.approx(1)
    assert not {"r_cal", "r_cal_flat_groups"} & set(row)
    assert row["target_log_prob"] == pytest.approx(paper["target_log_prob"]), "sampled with the same random numbers"
    assert row["loss"] != paper["loss"]
    assert "control_reward" not in paper


def test_a_blind_target_has_untrained_weights_of_its_seed(teacher, student):
    tokenizer = load_tokenizer(teacher)
    ids = tokenizer("3 + 4 = 7\nAnswer: 7", add_special_tokens=False)["input_ids"]

    def score(seed):
        return TargetScorer(student, tokenizer, blind_seed=seed)(["What is 3 + 4?"], [ids], set()).log_prob.item()

    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert score(0) == score(0) != score(1)
    assert torch.equal(state, torch.get_rng_state())
    assert score(None) not in (score(0), score(1))


def test_z_scores_give_every_reward_the_same_spread():
    lengths = torch.tensor([3.0, 300.0, 7.0, 9.0])
    assert group_z(lengths, 4).std().item() == pytest.approx(1, abs=1e-4)
    assert json.dumps(config(reward="taste").identity())
