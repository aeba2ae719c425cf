"""The batches of SFT are those of TRL's collator; on a CPU a forward takes few sequences."""

import pytest
import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from repro.distillation.sft import CPU_MICRO_BATCH, collate, limit_micro_batch
from repro.training.resources import TrainingResources

ROWS = [
    {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]},
    {"input_ids": [3], "labels": [3]},
    {"input_ids": [4, 3, 3], "labels": [-100, 3, 3]},  # ends with the pad token
]


def test_every_tensor_is_trls() -> None:
    batch, expected = collate(ROWS, pad_id=3), DataCollatorForLanguageModeling(pad_token_id=3)(ROWS)
    assert list(batch) == list(expected)
    for name, tensor in expected.items():
        assert batch[name].dtype == tensor.dtype, name
        assert torch.equal(batch[name], tensor), name


def test_weights_come_with_their_rows() -> None:
    batch = collate([row | {"weight": weight} for row, weight in zip(ROWS, (0.5, 2.0, 1.0))], pad_id=3)
    assert batch["weight"].tolist() == [0.5, 2.0, 1.0]


def test_a_micro_batch_that_is_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit_micro_batch(TrainingResources()).micro_batch == CPU_MICRO_BATCH
    assert limit_micro_batch(TrainingResources(micro_batch=100)).micro_batch == 100
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert limit_micro_batch(TrainingResources()).micro_batch is None
