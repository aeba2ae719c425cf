"""Sample n completions of every item, in chunks that survive a kill."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from repro.errors import InputError
from repro.generation.chunks import compute_chunks
from repro.generation.completion import Completion
from repro.generation.config import SamplingConfig
from repro.generation.engine import Engine, open_engine
from repro.generation.rollouts import SCHEMA, Rollout, batches, rollout_table, token_counts
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer
from repro.models.positions import check_length
from repro.progress import Progress
from repro.tasks.task import Item


def sample(
    config: SamplingConfig,
    *,
    model: Path | str,
    items: list[Item],
    seed: int,
    work: Path,
    progress: Progress,
    share: tuple[int, int] = (0, 1),
    prefixes: Sequence[Sequence[int]] | None = None,
    tensor_parallel: int = 1,
    open_other: Callable[[], Engine] | None = None,
) -> list[Path]:
    """Sample `completions_per_prompt` rollouts of every item; return the files that hold them, items in order.

    Each file is a chunk with its own seed and stays in `work`, so an interrupted run gives the same completions, as do
    several processes that each sample a share. One chunk is in memory at a time.

    Args:
        share: (index, count): only every count-th chunk is sampled; all chunks in `work` are returned, old or new.
        prefixes: one per item, tokens of an answer that the model continues; they become part of prompt_ids, and
            token_ids and text hold the continuation.
        tensor_parallel: GPUs (on the CPU: processes) over which vLLM shards the model.
        open_other: opens an engine that samples from another distribution over the model's tokens; None for the
            configured engine.

    Raises:
        InputError: a prompt exceeds the model's context length, or every completion is empty.
    """
    tokenizer = load_tokenizer(model)
    prompts = [prompt_token_ids(tokenizer, item.prompt, config.reasoning) for item in items]
    if prefixes is not None:
        prompts = [[*prompt, *prefix] for prompt, prefix in zip(prompts, prefixes, strict=True)]
    longest = max(map(len, prompts))
    first = next(item for item, prompt in zip(items, prompts) if len(prompt) == longest)
    check_length(model, longest, config.max_completion_tokens, f"the prompt of item {first.id}")
    per_chunk = max(1, config.batch_sequences // config.completions_per_prompt)
    chunks = [range(start, min(start + per_chunk, len(items))) for start in range(0, len(items), per_chunk)]
    most = longest + config.max_completion_tokens
    open_configured = functools.partial(open_engine, config.engine, model, most, tensor_parallel)
    with contextlib.ExitStack() as opened:

        @functools.cache
        def engine() -> Engine:
            return opened.enter_context(contextlib.closing((open_other or open_configured)()))

        def sample_chunk(chunk: range) -> pa.Table:
            progress(chunk.start, len(items), "prompts")
            chunk_items, chunk_prompts = [items[i] for i in chunk], [prompts[i] for i in chunk]
            completions = engine().generate(
                chunk_prompts,
                config.completions_per_prompt,
                config.max_completion_tokens,
                config.temperature,
                _chunk_seed(seed, chunk.start // per_chunk),
            )
            return rollout_table(_rollouts(chunk_items, chunk_prompts, completions, tokenizer))

        files = list(compute_chunks(chunks, sample_chunk, SCHEMA, work, share))
    if share == (0, 1) and not _has_token(files):
        expected = len(items) * config.completions_per_prompt
        raise InputError(f"{model}: all {expected} completions are empty; is this a causal language model?")
    progress(len(items), len(items), "prompts")
    return files


def _rollouts(
    items: list[Item], prompts: list[list[int]], completions: list[list[Completion]], tokenizer: Any
) -> list[Rollout]:
    """Return the rollouts of a chunk, item by item."""
    texts = iter(
        tokenizer.batch_decode(
            [completion.token_ids for group in completions for completion in group], skip_special_tokens=True
        )
    )
    return [
        Rollout(
            item_id=item.id,
            task=item.task,
            prompt=item.prompt,
            sample=k,
            prompt_ids=prompt_ids,
            token_ids=completion.token_ids,
            log_probs=completion.log_probs,
            text=next(texts),
            stop=completion.stop,
        )
        for item, prompt_ids, group in zip(items, prompts, completions, strict=True)
        for k, completion in enumerate(group)
    ]


def _has_token(files: list[Path]) -> bool:
    return any(any(token_counts(batch)) for file in files for batch in batches(file, ["token_ids"]))


def _chunk_seed(seed: int, number: int) -> int:
    """Return the seed of a chunk; it does not depend on the number of chunks."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:6], "big")
