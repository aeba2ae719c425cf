"""Scores of given completions, cut into forwards by their padded tokens."""

import contextlib
import random
from types import SimpleNamespace

import pytest
import torch
from tiny_models import qwen_tokenizer, save_qwen

from repro.calibration import reward as module
from repro.calibration.reward import FORWARD_TOKENS, TargetScorer
from repro.models.padded_batches import sorted_batches
from repro.models.scoring import token_log_probs
from repro.recipes import toy


@pytest.mark.parametrize("most", [1, 40, 64, 1000, 10_000])
def test_forwards_hold_each_row_once_and_no_more_tokens_than_allowed(most):
    rng = random.Random(0)
    lengths = [rng.randrange(1, 60) for _ in range(50)]
    batches = sorted_batches(lengths, most)
    assert sorted(row for batch in batches for row in batch) == list(range(50))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= most
    longest = [max(lengths[row] for row in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_what_fits_one_forward_stays_in_order():
    assert sorted_batches([3, 9, 1], 27) == [[0, 1, 2]]
    assert sorted_batches([3, 9, 1], 26) == [[1, 0], [2]]
    assert sorted_batches([], 10) == []


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return TargetScorer(save_qwen(tmp_path_factory.mktemp("target") / "model", seed=2), qwen_tokenizer())


def test_the_target_scores_by_tokens_and_not_by_the_trainers_micro_batch(scorer, monkeypatch):
    """Sequences of one length go together; scores are in the order of the completions, equal to those of single forwards."""
    forwards = []
    score = module.completion_log_prob

    def note(model, prompt_ids, completion_ids, batch_size):
        forwards.append([len(p) + len(c) for p, c in zip(prompt_ids, completion_ids)])
        return score(model, prompt_ids, completion_ids, batch_size)

    monkeypatch.setattr(module, "completion_log_prob", note)
    rng = random.Random(1)
    sampled = [[rng.randrange(5, 60) for _ in range(rng.randrange(2, 90))] for _ in range(64)]
    prompts = [f"{n} + 1 = ?" for n in range(64)]
    monkeypatch.setattr(scorer, "most", 1)
    alone = scorer(prompts, sampled, [1]).log_prob
    assert len(forwards) == 64
    forwards.clear()
    monkeypatch.setattr(scorer, "most", 2000)
    scores = scorer(prompts, sampled, [1])
    torch.testing.assert_close(scores.log_prob, alone, atol=1e-4, rtol=0)
    assert scores.tokens.tolist() == [len(ids) for ids in sampled]
    assert len(forwards) <= 4
    padded = sum(len(lengths) * max(lengths) for lengths in forwards)
    lengths = [len(ids) + 10 for ids in sampled]
    in_fours = sum(4 * max(lengths[n : n + 4]) for n in range(0, 64, 4))
    assert padded < in_fours  # less padding in 3 forwards than in 16 of the trainer's micro-batch


def test_a_toy_step_is_one_forward():
    """The toy scale's calibrations score a complete step at once, as they did in micro-batches: the same to the last bit."""
    config = toy.settings().calibration
    longest_prompt = 37  # tokens, of all toy tasks under both templates
    for tokens in (config.max_completion_tokens, 2 * config.max_completion_tokens):  # twice: another family's tokens
        lengths = [longest_prompt + tokens] * config.sequences_per_step
        assert sorted_batches(lengths, FORWARD_TOKENS) == [list(range(config.sequences_per_step))]


@pytest.mark.parametrize(("place", "expected"), [("cuda:1", ["cuda:1"]), ("cpu", [])])
def test_the_gpu_of_the_output_layer_is_the_current_one(monkeypatch, place, expected):
    """A model spread over GPUs has its first layer on another, and TRL's kernels run on the current one."""
    current: list[str] = []

    @contextlib.contextmanager
    def enter(device):
        current.append(str(device))
        yield
        current.pop()

    class Model:
        device = torch.device("cpu")

        def get_output_embeddings(self):
            return SimpleNamespace(weight=SimpleNamespace(device=torch.device(place)))

        def __call__(self, input_ids, **kwargs):
            assert current == expected
            return SimpleNamespace(log_probs=torch.zeros(len(input_ids), input_ids.shape[1] - 1))

    monkeypatch.setattr(torch.cuda, "device", enter)
    scores = token_log_probs(Model(), [[1], [1, 2]], [[3], [4, 5]], 1)
    assert [len(row) for row in scores] == [1, 2]
