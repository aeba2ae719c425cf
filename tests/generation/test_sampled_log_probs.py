"""Both forms of vLLM's log-probabilities are read alike, without vLLM."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from repro.generation.vllm_engine import sampled_log_probs


@dataclass
class FlatLogprobs:
    """The fields of vLLM's class of this name that are read (0.26 and 0.31)."""

    start_indices: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


def test_both_forms_give_the_log_probability_of_the_sampled_token():
    ids = [7, 3, 7]
    flat = FlatLogprobs(
        [0, 1, 3], [-0.5, -1.5, -0.1, -2.5]
    )  # the second position has another token after the sampled one
    dictionaries = [{7: -0.5}, {3: -1.5, 9: -0.1}, {7: -2.5}]
    objects = [{token: SimpleNamespace(logprob=value) for token, value in row.items()} for row in dictionaries]
    assert sampled_log_probs(ids, flat) == sampled_log_probs(ids, objects) == [-0.5, -1.5, -2.5]
    assert sampled_log_probs([], FlatLogprobs()) == sampled_log_probs([], []) == []


def test_a_missing_position_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        sampled_log_probs([7, 3], [{7: SimpleNamespace(logprob=-0.5)}])
