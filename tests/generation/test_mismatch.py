"""The gap between a sampler's log-probabilities and the trainer's, and the alarm that it raises."""

import pytest
import torch

from repro.generation.mismatch import ALARM, check_rollouts, compare_log_probs
from repro.generation.rollouts import Rollout
from repro.generation.transformers_engine import TransformersEngine
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer, locate
from repro.training.history import alarms


def test_the_gap_is_the_mean_absolute_difference_per_token():
    trainer = [torch.tensor([-1.0, -2.0], dtype=torch.float64), torch.tensor([-3.0], dtype=torch.float64)]
    comparison = compare_log_probs([[-1.0, -2.5], [-3.1]], trainer)
    assert comparison["gap"] == pytest.approx(0.2)
    assert comparison["largest"] == pytest.approx(0.5)
    assert comparison["tokens"] == 3
    assert "different weights" in comparison["alarm"]
    assert compare_log_probs([[-1.0, -2.0], [-3.0]], trainer)["alarm"] is None
    assert compare_log_probs([[float("nan"), -2.0], [-3.0]], trainer)["alarm"] is not None


def test_a_run_whose_sampler_drifted_raises_the_alarm():
    assert alarms([{"vllm_log_prob_gap": 0.01}, {"loss": 1.0}]) == {}
    assert "alarm" in alarms([{"vllm_log_prob_gap": 0.01}, {"vllm_log_prob_gap": 2 * ALARM}])
    assert "alarm" in alarms([{"vllm_log_prob_gap": None}])


def test_rollouts_of_other_weights_raise_the_alarm():
    student = locate("toy:qwen3-student")
    tokenizer = load_tokenizer(student)
    ids = prompt_token_ids(tokenizer, "2 + 2?")
    rollouts = []
    for sample, completion in enumerate(TransformersEngine(student).generate([ids], 4, 12, 1.0, seed=1)[0]):
        rollouts.append(
            Rollout("a", "t", "2 + 2?", sample, ids, completion.token_ids, completion.log_probs, "", completion.stop)
        )
    same_weights = check_rollouts(student, rollouts, 1.0)
    assert same_weights["gap"] < 1e-4
    assert same_weights["alarm"] is None
    assert check_rollouts(locate("toy:qwen3-target"), rollouts, 1.0)["alarm"] is not None
