"""Sample n completions of every item, in chunks that survive a kill."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.generation.completion import Completion
from repro.generation.config import SamplingConfig
from repro.generation.engine import Engine, open_engine
from repro.generation.rollouts import SCHEMA, Rollout, batches, token_counts, write_rollouts
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

    Each file is a chunk with its own seed and stays in `work`, so an interrupted run gives the same completions, and so
    do several processes that sample a share each. One chunk is in memory at a time.

    Args:
        share: (index, count): only every count-th chunk is sampled; chunks in `work` are returned, sampled now or before.
        prefixes: one per item, tokens of an answer that the model continues; they are then part of prompt_ids, and
            token_ids and text hold the continuation.
        tensor_parallel: GPUs (on the CPU: processes) that vLLM spreads the model over.
        open_other: opens an engine of another law over the model's tokens; None for the configured engine.

    Raises:
        InputError: a prompt does not fit the model's positions, or no completion has a token.
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
    work.mkdir(parents=True, exist_ok=True)
    engine: Engine | None = None
    files: list[Path] = []
    tokens = 0
    with contextlib.ExitStack() as opened:
        for number, chunk in enumerate(chunks):
            progress(chunk.start, len(items), "prompts")
            path = work / f"chunk-{number:06d}.parquet"
            stored_tokens = _count_tokens(path)
            if stored_tokens is not None:
                files.append(path)
                tokens += stored_tokens
                continue
            if number % share[1] != share[0]:
                continue
            if engine is None:
                most = longest + config.max_completion_tokens
                engine = open_other() if open_other else open_engine(config.engine, model, most, tensor_parallel)
                opened.callback(engine.close)
            completions = engine.generate(
                [prompts[i] for i in chunk],
                config.completions_per_prompt,
                config.max_completion_tokens,
                config.temperature,
                _chunk_seed(seed, number),
            )
            rollouts = _rollouts([items[i] for i in chunk], [prompts[i] for i in chunk], completions, tokenizer)
            draft = path.with_suffix(".part")
            write_rollouts(draft, rollouts)
            draft.replace(path)
            files.append(path)
            tokens += sum(len(rollout.token_ids) for rollout in rollouts)
            del completions, rollouts  # before the next chunk is sampled
    if share == (0, 1) and not tokens:
        expected = len(items) * config.completions_per_prompt
        raise InputError(f"{model}: all {expected} completions are empty; is this a causal language model?")
    progress(len(items), len(items), "prompts")
    return files


def _rollouts(
    items: list[Item], prompts: list[list[int]], completions: list[list[Completion]], tokenizer: Any
) -> list[Rollout]:
    """Return the rollouts of a chunk: all completions of the first item, then those of the next."""
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


def _count_tokens(chunk: Path) -> int | None:
    """Count the tokens of a chunk of an interrupted run; None if there is none, or it cannot be read."""
    try:
        return sum(sum(token_counts(batch)) for batch in batches(chunk, SCHEMA.names)) if chunk.exists() else None
    except InputError:
        return None


def _chunk_seed(seed: int, number: int) -> int:
    """Return the seed of a chunk, which does not depend on the number of chunks."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:6], "big")
