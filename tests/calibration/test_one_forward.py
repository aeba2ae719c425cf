"""r_cal's policy term by the loss's own forward: one forward fewer, and no bit of the result changes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from calibration.test_trainer import lines, odd_length, run
from safetensors.torch import load_file
from trl import GRPOTrainer

from repro.calibration.one_forward import OneForward, _next_permutation
from repro.tasks import Item


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each forward of the trainer: whether it kept a graph."""
    made: list[bool] = []
    inner = GRPOTrainer._get_per_token_logps_and_entropies

    def count(self: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(torch.is_grad_enabled())
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", count)
    return made


def drawing(items: list[Item], texts: list[str]) -> list[float]:
    """A reward that draws from torch's random stream: TRL's shuffle is then another one than was foreseen."""
    torch.rand(1)
    return odd_length(items, texts)


@pytest.mark.parametrize(("reward", "each_step"), [(odd_length, [True, False]), (drawing, [True, False, True])])
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
    assert (
        forwards == each_step * 3
    )  # the loss's (with r_cal's term), the anchor's, and where it was for nothing another
    forwards.clear()
    monkeypatch.setattr(OneForward, "can_score_ahead", lambda self: False)
    run(tmp_path / "two", teacher, student, items, steps=3, task_reward=reward)
    assert forwards == [False, False, True] * 3
    assert lines(tmp_path / "one" / "out") == lines(tmp_path / "two" / "out")
    one, two = (load_file(tmp_path / name / "out" / "model" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_a_step_in_parts_scores_without_a_graph(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], forwards: list[bool]
) -> None:
    run(tmp_path, teacher, student, items, steps=1, micro_batch=4)
    assert forwards == [False, False, True, True, True, True]


def test_the_random_stream_stays_where_it_is() -> None:
    torch.manual_seed(3)
    foreseen = _next_permutation(20)
    assert torch.equal(torch.randperm(20), foreseen)
