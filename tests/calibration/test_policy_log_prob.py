"""r_cal's policy term from the loss's own forward: one forward fewer, and no bit of the result changes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from calibration.test_trainer import lines, odd_length, run
from safetensors.torch import load_file
from trl import GRPOTrainer

from repro.calibration.policy_log_prob import PolicyLogProb, _next_permutation
from repro.tasks import Item


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each forward of the trainer: True if it kept a graph."""
    forwards: list[bool] = []
    original = GRPOTrainer._get_per_token_logps_and_entropies

    def count(self: Any, *args: Any, **kwargs: Any) -> Any:
        forwards.append(torch.is_grad_enabled())
        return original(self, *args, **kwargs)

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", count)
    return forwards


def random_reward(items: list[Item], texts: list[str]) -> list[float]:
    """A reward that advances torch's random stream: TRL's shuffle then differs from the predicted one."""
    torch.rand(1)
    return odd_length(items, texts)


@pytest.mark.parametrize(("reward", "each_step"), [(odd_length, [True, False]), (random_reward, [True, False, True])])
def test_no_bit_changes(
    tmp_path: Path,
    teacher: Path,
    student: Path,
    items: list[Item],
    forwards: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    reward: Any,
    each_step: list[bool],
) -> None:
    run(tmp_path / "one", teacher, student, items, steps=3, task_reward=reward)
    # the loss's (with r_cal's term), the anchor's, and the loss's again if the prediction was wrong
    assert forwards == each_step * 3
    forwards.clear()
    monkeypatch.setattr(PolicyLogProb, "is_one_forward", lambda self: False)
    run(tmp_path / "two", teacher, student, items, steps=3, task_reward=reward)
    assert forwards == [False, False, True] * 3
    assert lines(tmp_path / "one" / "out") == lines(tmp_path / "two" / "out")
    first, second = (load_file(tmp_path / name / "out" / "model" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_a_step_of_several_forwards_scores_without_a_graph(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], forwards: list[bool]
) -> None:
    run(tmp_path, teacher, student, items, steps=1, micro_batch=4)
    assert forwards == [False, False, True, True, True, True]


def test_predicting_the_shuffle_does_not_advance_the_random_stream() -> None:
    torch.manual_seed(3)
    predicted = _next_permutation(20)
    assert torch.equal(torch.randperm(20), predicted)


def test_with_vllm_the_forward_that_trl_makes_is_reused() -> None:
    """The first forward after sampling is r_cal's term, over each completion's tokens; a later one is not."""

    class Trainer:
        use_vllm = vllm_importance_sampling_correction = True

        def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
            return [[1]] * 2, [[5, 6, 7], [8]]

        def _get_per_token_logps_and_entropies(self, model: Any, input_ids: torch.Tensor) -> Any:
            return -input_ids.float(), None, None

    class Scored(PolicyLogProb, Trainer):
        pass

    trainer = Scored()
    _, completion_ids = trainer._generate([])
    for ids_BC in (torch.tensor([[1, 2, 3], [4, 99, 99]]), torch.full((2, 3), 1000)):
        trainer._get_per_token_logps_and_entropies(None, ids_BC)
    assert trainer.policy_log_prob(completion_ids).tolist() == [-6.0, -4.0]
