"""Apply a text guard to stored completions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.generation.rollouts import SCHEMA, RowGroupWriter, Stop, rollout_batches, rollout_table
from repro.guards.base import TextGuard
from repro.models.chat_tokens import encode_text, end_of_turn_id
from repro.models.loading import generation_eos_ids, load_tokenizer
from repro.tasks.task import Item


def rewrite_completions(
    guard: TextGuard,
    completions: Path,
    out: Path,
    *,
    model: Path | str,
    items: list[Item],
    opens_in_thought: bool = False,
    rewrite_batch: Callable[[Sequence[tuple[str, Item]]], list[str | None]] | None = None,
) -> dict[str, Any]:
    """Write what the guard shows of each completion, in order; a withheld completion becomes empty.

    An unchanged text keeps its tokens. A rewritten one gets new tokens, with the end of turn, and no log-probabilities.

    Args:
        model: the model whose tokenizer the completions use.
        rewrite_batch: returns what is shown of consecutive completions; by default the guard's `rewrite` of each.

    Returns:
        completions, tokens, and the shares of completions changed and withheld.
    """
    tokenizer = load_tokenizer(model)
    end_id = end_of_turn_id(tokenizer, generation_eos_ids(model))
    by_key = {(item.task, item.id): item for item in items}

    def rewrite_each(sources: Sequence[tuple[str, Item]]) -> list[str | None]:
        return [guard.rewrite(text, item, opens_in_thought=opens_in_thought) for text, item in sources]

    counts = {"completions": 0, "tokens": 0, "changed": 0, "withheld": 0}
    with RowGroupWriter(out, SCHEMA) as file:
        for batch in rollout_batches([completions]):
            shown = []
            sources = [(rollout.text, by_key[rollout.task, rollout.item_id]) for rollout in batch]
            for rollout, text in zip(batch, (rewrite_batch or rewrite_each)(sources), strict=True):
                if text is not None and not isinstance(text, str):
                    raise InputError(f"guard '{guard.name}': rewrite returned {type(text).__name__}, not text or None")
                counts["changed"] += text is not None and text != rollout.text
                counts["withheld"] += text is None
                if text != rollout.text:
                    ids = [] if text is None else [*encode_text(tokenizer, text), end_id]
                    stop: Stop = "length" if text is None else "eos"  # no end token, so that nothing is learnt
                    rollout = replace(rollout, text=text or "", token_ids=ids, log_probs=[], stop=stop)
                counts["completions"] += 1
                counts["tokens"] += len(rollout.token_ids)
                shown.append(rollout)
            file.write(rollout_table(shown))
    total = counts["completions"]
    return counts | {"changed": counts["changed"] / total, "withheld": counts["withheld"] / total}
