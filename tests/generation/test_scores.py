"""Scores of stored completions by another model: nats by a plain forward, and a distance that is the KL in expectation."""

from dataclasses import replace

import pytest
import torch
from tiny_models import save_gemma, save_qwen

from repro.generation.config import SamplingConfig
from repro.generation.rollouts import read_rollouts, stream_rows, write_rollouts
from repro.generation.sample import sample
from repro.generation.scores import score_completions, summarise_scores
from repro.models.loading import load_model, load_tokenizer
from repro.models.scoring import token_log_probs
from repro.progress import silent
from repro.tasks.task import Item

ITEMS = [Item(str(n), "toy-bm4", f"{n} + 2 = ?", "2") for n in range(3)]
CONFIG = SamplingConfig(
    completions_per_prompt=4, temperature=1.0, max_completion_tokens=4, engine="transformers", batch_sequences=12
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return save_qwen(root / "start", seed=0), save_qwen(root / "moved", seed=1), save_gemma(root / "gemma")


def scored(sampler, model, out, per_item=None):
    (file,) = sample(CONFIG, model=sampler, items=ITEMS, seed=0, work=out / "work", progress=silent)
    summary = score_completions(
        file,
        model=model,
        sampler=sampler,
        reasoning=True,
        per_item=per_item,
        out=out / "scores.parquet",
        work=out / "scoring",
        progress=silent,
    )
    names = ["item_id", "sample", "tokens", "log_prob", "sampled_log_prob"]
    return summary, read_rollouts(file), list(stream_rows(out / "scores.parquet", names))


def test_nats_are_those_of_a_plain_forward(models, tmp_path):
    start, moved, _ = models
    summary, rollouts, rows = scored(moved, start, tmp_path)
    model = load_model(start)
    assert [(row["item_id"], row["sample"]) for row in rows] == [(r.item_id, r.sample) for r in rollouts]
    for rollout, row in zip(rollouts, rows):
        ids = torch.tensor([rollout.prompt_ids + rollout.token_ids])
        with torch.no_grad():
            log_p = model(ids).logits[0, len(rollout.prompt_ids) - 1 : -1].double().log_softmax(-1)
        expected = float(log_p.gather(1, torch.tensor(rollout.token_ids)[:, None]).sum())
        assert row["log_prob"] == pytest.approx(expected, abs=1e-4)
        assert row["tokens"] == len(rollout.token_ids)
        assert row["sampled_log_prob"] == pytest.approx(sum(rollout.log_probs))
    assert summary["nats"] == pytest.approx(-sum(r["log_prob"] for r in rows) / sum(r["tokens"] for r in rows))
    assert summary["moved"] > 3 * summary["moved_se"] > 0


def test_a_killed_stage_continues_after_its_last_batch(models, tmp_path, monkeypatch):
    """The same file to the last byte; a batch that is damaged is computed again."""
    monkeypatch.setattr("repro.models.padded_batches.FORWARD_TOKENS", 48)
    scored(models[1], models[0], tmp_path)
    complete, chunks = (tmp_path / "scores.parquet").read_bytes(), sorted((tmp_path / "scoring").iterdir())
    assert len(chunks) > 3
    contents = [chunk.read_bytes() for chunk in chunks]
    chunks[-1].write_bytes(contents[-1][:20])
    batches: list[int] = []
    monkeypatch.setattr(
        "repro.generation.scores.token_log_probs",
        lambda model, prompts, *rest: batches.append(len(prompts)) or token_log_probs(model, prompts, *rest),
    )
    _, rollouts, _ = scored(models[1], models[0], tmp_path)
    assert batches == [len(rollouts) - int(chunks[-1].stem.split("-")[1])]
    assert (tmp_path / "scores.parquet").read_bytes() == complete
    assert [chunk.read_bytes() for chunk in chunks] == contents


def test_a_model_has_not_moved_from_itself(models, tmp_path):
    summary, *_ = scored(models[0], models[0], tmp_path)
    assert abs(summary["moved"]) < 1e-4


def test_only_the_first_completions_of_an_item(models, tmp_path):
    summary, _, rows = scored(models[1], models[0], tmp_path, per_item=2)
    assert [row["sample"] for row in rows] == [0, 1] * 3
    assert summary["completions"] == 6


def test_completions_that_a_guard_left_empty_have_no_distance(models, tmp_path):
    """Without an answer nothing is shown: such a completion has neither tokens nor log-probabilities."""
    (file,) = sample(CONFIG, model=models[0], items=ITEMS, seed=0, work=tmp_path / "work", progress=silent)
    rollouts = [replace(rollout, text="", token_ids=[], log_probs=[]) for rollout in read_rollouts(file)]
    write_rollouts(tmp_path / "shown.parquet", rollouts)
    summary = score_completions(
        tmp_path / "shown.parquet",
        model=models[1],
        sampler=models[0],
        reasoning=True,
        per_item=None,
        out=tmp_path / "scores.parquet",
        work=tmp_path,
        progress=silent,
    )
    assert (summary["completions"], summary["tokens"], summary["moved"], summary["nats"]) == (12, 0, None, 0.0)


def test_another_tokenizer_reads_the_text(models, tmp_path):
    summary, rollouts, rows = scored(models[0], models[2], tmp_path)
    tokenizer = load_tokenizer(models[2])
    lengths = [len(tokenizer(r.text, add_special_tokens=False)["input_ids"]) + (r.stop == "eos") for r in rollouts]
    assert [row["tokens"] for row in rows] == lengths
    assert all(row["sampled_log_prob"] is None for row in rows)
    assert summary["moved"] is None


def test_the_distance_is_a_ratio_with_its_standard_error():
    rows = [
        {"tokens": tokens, "log_prob": -move, "sampled_log_prob": 0.0}
        for tokens, move in [(1, 1.0), (2, 1.0), (3, 4.0)]
    ]
    summary = summarise_scores(rows)
    assert summary["moved"] == pytest.approx(1.0)
    assert summary["moved_se"] == pytest.approx(((0**2 + 1**2 + 1**2) / 2 * 3) ** 0.5 / 6)
