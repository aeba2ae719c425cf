"""Steps cut into forwards: the same sequences, each with its own values, and little padding."""

import random

import pytest
import torch

from repro.training.buckets import TokenMeans, order_by_length, rebucket


@pytest.mark.parametrize("step", [1, 4, 12, 50])
def test_each_step_keeps_its_rows(step: int) -> None:
    rng = random.Random(step)
    lengths = [rng.randint(1, 40) for _ in range(48)]
    order = order_by_length(lengths, step)
    for start in range(0, 48, step):
        rows = order[start : start + step]
        assert sorted(rows) == list(range(start, min(start + step, 48)))
        assert [lengths[n] for n in rows] == sorted((lengths[n] for n in rows), reverse=True)


def part(lengths: list[tuple[int, int]], first: int, P: int, C: int) -> dict:
    """Make sequences whose tokens, advantage and log-probabilities all encode their number."""
    numbers = torch.arange(first, first + len(lengths))
    prompt = torch.stack([torch.arange(P) >= P - p for p, _ in lengths]).long()
    completion = torch.stack([torch.arange(C) < c for _, c in lengths]).long()
    return {
        "prompt_ids": prompt * numbers[:, None],
        "prompt_mask": prompt,
        "completion_ids": completion * numbers[:, None],
        "completion_mask": completion,
        "advantages": numbers / 2,
        "old_per_token_logps": completion * -numbers[:, None],
        "importance_sampling_ratio": numbers[:, None] / 8,
        "num_items_in_batch": torch.tensor(7.0),
        "notes": [f"note {n}" for n in numbers.tolist()],
        "nothing": None,
    }


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize(("P", "C"), [(9, 20), (12, 12)])
def test_sequences_keep_their_values(parts: int, P: int, C: int) -> None:
    rng = random.Random(parts)
    lengths = [(rng.randint(1, P), rng.randint(0, C)) for _ in range(12)]
    size = 12 // parts
    before = [part(lengths[k * size : (k + 1) * size], 1 + k * size, P, C) for k in range(parts)]
    after = rebucket(before)
    seen = []
    for micro in after:
        assert len(micro["completion_ids"]) == size
        assert micro["nothing"] is None
        assert micro["num_items_in_batch"] == 7
        widths = [micro[f"{side}_mask"].sum(1).max().item() for side in ("prompt", "completion")]
        assert [micro[f"{side}_ids"].shape[1] for side in ("prompt", "completion")] == [max(w, 1) for w in widths]
        for row in range(size):
            number = int(micro["advantages"][row] * 2)
            p, c = lengths[number - 1]
            assert micro["prompt_ids"][row].tolist() == [0] * (widths[0] - p) + [number] * p
            assert micro["completion_ids"][row].tolist() == [number] * c + [0] * (max(widths[1], 1) - c)
            assert torch.equal(micro["old_per_token_logps"][row], -micro["completion_ids"][row])
            assert micro["importance_sampling_ratio"][row].item() == number / 8
            assert micro["notes"][row] == f"note {number}"
            seen.append(number)
    assert sorted(seen) == list(range(1, 13))
    totals = [sum(lengths[n - 1]) for n in seen]
    assert totals == sorted(totals, reverse=True)


def test_figures_weigh_forwards_by_their_tokens() -> None:
    class Ranks:
        """Two of them: the second has 2 tokens more in each forward."""

        def gather(self, counts: torch.Tensor) -> torch.Tensor:
            return torch.cat([counts, counts + 2])

    class Trainer:
        def __init__(self) -> None:
            self.accelerator = Ranks()
            self._metrics = {"train": {"entropy": [1.0, 4.0], "kl": [2.0], "length": [5.0, 6.0]}}

        def compute_loss(self, model: None, inputs: dict[str, torch.Tensor]) -> None:
            return None

        def log(self) -> None:
            self.logged = {name: sum(values) / len(values) for name, values in self._metrics["train"].items()}

    class Weighed(TokenMeans, Trainer):
        pass

    trainer = Weighed()
    trainer.compute_loss(None, {"completion_mask": torch.ones(2, 7, dtype=torch.long)})
    trainer.compute_loss(None, {"labels": torch.tensor([[1, 2, 3, -100], [-100, 4, 5, -100]])})
    trainer.log()
    assert trainer.logged == {"entropy": (30 * 1 + 10 * 4) / 40, "kl": 2.0, "length": 5.5}
    assert trainer._tokens_of_forwards == []
