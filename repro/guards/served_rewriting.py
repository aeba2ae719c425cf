"""Rewrite stored completions with a served model: concurrent, resumable, and with counts of the outcomes."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from repro.evaluation.stored_replies import ask_once
from repro.guards.rewriting import rewrite_completions
from repro.guards.served import ServedRewriter, seeded_reply
from repro.progress import Progress
from repro.tasks.task import Item

MOST_KEPT_BACK = 0.1
"""ASSUMED: a stage warns if more than this share of the replies cannot be shown."""


def rewrite_by_model(
    guard: ServedRewriter,
    completions: Path,
    out: Path,
    *,
    model: Path | str,
    items: list[Item],
    opens_in_thought: bool,
    seed: int,
    work: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write what the guard shows of each completion, as `rewrite_completions` does.

    Args:
        model: the model whose tokenizer the completions use.
        seed: base seed of the requests; each question derives its own.
        work: folder for the replies, one file per chunk of completions; stored replies are not requested again.

    Returns:
        The summary of `rewrite_completions`, and counts of completions: shown_unasked; asked; shown_rewritten; shown as
        they were, by reason, and their share of those asked. A warning if that share is large.

    Raises:
        InputError: the server does not answer, or refuses.
    """
    counts: Counter[str] = Counter()
    total, chunk = pq.read_metadata(completions).num_rows, 0

    def rewrite_batch(batch: Sequence[tuple[str, Item]]) -> list[str | None]:
        nonlocal chunk
        start = counts.total()
        questions = [guard.question(text, item, opens_in_thought=opens_in_thought) for text, item in batch]
        replies = ask_once(
            partial(seeded_reply, client, seed),
            [question for question in questions if question is not None],
            work / f"replies-{chunk:06}.jsonl",
            lambda done, _: progress(min(start + done, total), total, "completions"),
        )
        chunk += 1
        shown: list[str | None] = []
        for (text, item), question in zip(batch, questions, strict=True):
            outcome: str = "unasked"
            if question is not None:
                text, outcome = guard.read(replies[question], text, item, opens_in_thought=opens_in_thought)
            counts[outcome] += 1
            shown.append(text)
        progress(counts.total(), total, "completions")
        return shown

    with closing(guard.open_client()) as client:
        summary = rewrite_completions(guard, completions, out, model=model, items=items, rewrite_batch=rewrite_batch)
    return summary | _outcomes(guard, counts)


def _outcomes(guard: ServedRewriter, counts: Counter[str]) -> dict[str, Any]:
    """Return the counts of a summary, and its warning."""
    asked = counts.total() - counts["unasked"]
    reasons = {reason: counts[reason] for reason in ("other answer", "cut", "unreadable")}
    kept_back = sum(reasons.values())
    share = kept_back / asked if asked else 0.0
    outcomes: dict[str, Any] = {
        "shown_unasked": counts["unasked"],
        "asked": asked,
        "shown_rewritten": counts["shown"],
        "shown_as_they_were": reasons,
        "share_shown_as_they_were": share,
    }
    if share > MOST_KEPT_BACK:
        by_reason = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        outcomes["warnings"] = {
            "rewriting": (
                f"{kept_back} of {asked} completions are shown as they were, since what rewriter {guard.endpoint.model} wrote"
                f" cannot be shown ({by_reason}): the guard changes less than its name says. Name a larger"
                " instruction-tuned model, or raise"
                f" reply_tokens ({guard.reply_tokens}) if replies are cut"
            )
        }
    return outcomes
