"""Score stored completions under another model, next to their log-probability under the model that sampled them."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from repro.generation.chunks import compute_chunks
from repro.generation.rollouts import Rollout, RowGroupWriter, stream_rollouts, stream_rows
from repro.models.chat_tokens import encode_text, end_of_turn_id, is_same_tokenizer, prompt_token_ids
from repro.models.loading import generation_eos_ids, load_model, load_tokenizer
from repro.models.padded_batches import padded_batches
from repro.models.scoring import token_log_probs
from repro.progress import Progress

SCORES = pa.schema(
    [
        ("task", pa.string()),
        ("item_id", pa.string()),
        ("sample", pa.int32()),
        ("tokens", pa.int32()),
        ("log_prob", pa.float64()),
        ("sampled_log_prob", pa.float64()),
    ]
)
"""A row per scored completion. tokens: count in the scoring model's tokens; log_prob: under that model, nats;
sampled_log_prob: under the sampler at the sampling temperature, nats; null if the text was rewritten or the tokenizers
differ."""


def score_completions(
    completions: Path,
    *,
    model: Path | str,
    sampler: Path | str,
    reasoning: bool,
    per_item: int | None,
    out: Path,
    work: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write the `SCORES` of the first completions of each item, in order.

    Args:
        sampler: the model that sampled the completions. If its tokenizer differs, the text is re-tokenised between the
            scoring model's own prompt and its end of turn.
        reasoning: `enable_thinking` for the scoring model's prompts, in that case.
        per_item: completions per item; None for all.
        work: stores finished batches, so that a killed stage resumes.

    Returns:
        completions, tokens; nats: mean per token under the model; moved: mean of sampler minus model per token, an
        unbiased estimate of KL(sampler || model) at temperature 1 (nats; None without the sampler's); moved_se: its
        standard error over completions.
    """
    from trl.trainer.utils import add_fused_lm_head

    scorer = load_model(model)
    add_fused_lm_head(scorer)
    has_same_tokens = is_same_tokenizer(load_tokenizer(model), load_tokenizer(sampler))
    tokens_of = token_reader(model, sampler, reasoning)
    pairs = ((rollout, *tokens_of(rollout)) for rollout in _first(stream_rollouts([completions]), per_item))

    def compute(batch: list[tuple[Rollout, list[int], list[int]]]) -> pa.Table:
        rows = []
        scores = token_log_probs(scorer, [pair[1] for pair in batch], [pair[2] for pair in batch], len(batch))
        for (rollout, _, ids), log_probs in zip(batch, scores):
            is_sampled = 0 < len(ids) == len(rollout.log_probs)  # False if rewritten by a guard, or empty
            is_known = has_same_tokens and is_sampled
            rows.append(
                {
                    "task": rollout.task,
                    "item_id": rollout.item_id,
                    "sample": rollout.sample,
                    "tokens": len(ids),
                    "log_prob": float(log_probs.sum()),
                    "sampled_log_prob": sum(rollout.log_probs) if is_known else None,
                }
            )
        return pa.Table.from_pylist(rows, schema=SCORES)

    rows: list[dict[str, Any]] = []
    batches = padded_batches(pairs, lambda pair: len(pair[1]) + len(pair[2]))
    for chunk in compute_chunks(batches, compute, SCORES, work):
        rows += stream_rows(chunk, SCORES.names)
        progress(len(rows), 0, "completions")
    with RowGroupWriter(out, SCORES) as file:
        file.write(pa.Table.from_pylist(rows, schema=SCORES))
    return summarise_scores(rows)


def token_reader(
    model: Path | str, sampler: Path | str, reasoning: bool
) -> Callable[[Rollout], tuple[list[int], list[int]]]:
    """Return a function that maps a rollout of `sampler` to prompt and completion in a model's tokens.

    If the tokenizers differ, the text is re-tokenised as in `score_completions`.
    """
    tokenizer = load_tokenizer(model)
    if is_same_tokenizer(tokenizer, load_tokenizer(sampler)):
        return lambda rollout: (rollout.prompt_ids, rollout.token_ids)
    end_id = end_of_turn_id(tokenizer, generation_eos_ids(model))

    def read(rollout: Rollout) -> tuple[list[int], list[int]]:
        ids = encode_text(tokenizer, rollout.text)
        ends = [end_id] if rollout.stop == "eos" else []
        return prompt_token_ids(tokenizer, rollout.prompt, reasoning), [*ids, *ends]

    return read


def summarise_scores(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the summary of scored completions: see `score_completions`."""
    tokens = sum(row["tokens"] for row in rows)
    moves = [
        (row["sampled_log_prob"] - row["log_prob"], row["tokens"])
        for row in rows
        if row["sampled_log_prob"] is not None
    ]
    summary: dict[str, Any] = {"completions": len(rows), "tokens": tokens}
    summary["nats"] = -sum(row["log_prob"] for row in rows) / max(1, tokens)
    summary |= {"moved": None, "moved_se": None}
    if len(moves) > 1:
        n, length = len(moves), sum(count for _, count in moves)
        ratio = sum(move for move, _ in moves) / length
        spread = sum((move - ratio * count) ** 2 for move, count in moves) / (n - 1)
        summary |= {"moved": ratio, "moved_se": (spread * n) ** 0.5 / length}
    return summary


def _first(rollouts: Iterator[Rollout], per_item: int | None) -> Iterator[Rollout]:
    seen: Counter[tuple[str, str]] = Counter()
    for rollout in rollouts:
        seen[rollout.task, rollout.item_id] += 1
        if per_item is None or seen[rollout.task, rollout.item_id] <= per_item:
            yield rollout
