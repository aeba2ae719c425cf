"""vLLM for the model that is being trained: in the trainers' own processes, or as a server on further GPUs."""

import contextlib
import functools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from repro.generation.server import ServerPlacement, free_port, vllm_server
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_config
from repro.tasks import Item

GIB = 2**30
CACHE_BYTES = 6 * GIB
"""Least key-value cache beside the weights that vLLM gets on a GPU."""


@contextlib.contextmanager
def engine_arguments(
    config: Any, model: Any, tokenizer: Any, items: Sequence[Item], work: Path, server: ServerPlacement | None
) -> Iterator[dict[str, Any]]:
    """What GRPOConfig and DistillationConfig take to draw completions by `config.engine`: nothing for transformers. A server
    runs until the context is left; without one, on a GPU, vLLM sleeps while the trainer computes: its weights and cache
    leave the memory that gradients need.

    Args:
        config: tells the engine, the cap of a completion, and whether the model reasons.
        model: the one that is trained.
        items: their longest prompt, template included, gives the length that vLLM plans for.
        work: where a folder that vLLM can read is written, if the model's own is another architecture.
        server: where a server is to run; None for the trainers' own processes.

    Raises:
        ServerError: the server did not start; with its cause.
    """
    if config.engine != "vllm":
        yield {}
        return
    longest = max(len(prompt_token_ids(tokenizer, item.prompt, config.reasoning)) for item in items)
    length = longest + config.max_completion_tokens
    _readable_by_vllm(model, tokenizer, work)
    if server is None:
        with eager_on_cpu():
            yield _colocated(model, length)
    elif int(os.environ.get("RANK", "0")):  # the first rank alone talks to the server, and has started it
        yield _remote("http://none")
    else:
        from repro.training.server_client import used_by_trainers

        with vllm_server(model.name_or_path, length, server, work) as url, used_by_trainers(work):
            yield _remote(url)


def _remote(url: str) -> dict[str, Any]:
    port = free_port()  # TRL's default is one for all trainings on a machine
    return {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": url, "vllm_group_port": port}


def _colocated(model: Any, length: int) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    total = torch.cuda.get_device_properties(0).total_memory if cuda else 0
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": length,
        "vllm_gpu_memory_utilization": memory_share(model.num_parameters(), total) if cuda else 0.3,
        "vllm_enable_sleep_mode": cuda,
    }


@contextlib.contextmanager
def eager_on_cpu() -> Iterator[None]:
    """Make vLLM's CPU build accept new weights in this process, and start fast; no effect on a GPU.

    A trainer must be built and run inside. Compiling the model takes longer than the CPU is ever used for, and TRL has
    no switch for it.
    """
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; by default it takes half of the memory
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        yield
        return
    import trl.generation.vllm_generation as trl_generation
    import vllm

    from repro.generation.vllm_worker import keep_weights

    keep_weights()
    before, trl_generation.LLM = trl_generation.LLM, functools.partial(vllm.LLM, enforce_eager=True)
    try:
        yield
    finally:
        trl_generation.LLM = before


def memory_share(parameters: int, total: int) -> float:
    """Share of a GPU of so many bytes that vLLM takes while it generates: weights in bfloat16, and a cache.

    At least 0.15, and never more than 0.6: the trainer's weights lie beside it.
    """
    return round(min(max((2.2 * parameters + CACHE_BYTES) / total, 0.15), 0.6), 3)


def _readable_by_vllm(model: Any, tokenizer: Any, work: Path) -> None:
    """vLLM starts from the folder that the model names, and the trainer then sends it weights by name: both must be of
    one architecture and size. They are not where only the text part of a checkpoint is trained, or its vocabulary was cut.
    """
    source = load_config(model.name_or_path)
    same = source.model_type == model.config.model_type and source.vocab_size == model.config.vocab_size
    if same:
        return
    folder, own = work / "vllm-start", work / f"vllm-start-{os.getpid()}"
    if not folder.exists():
        model.save_pretrained(own)
        tokenizer.save_pretrained(own)
        try:
            own.rename(folder)
        except OSError:  # another rank was first
            shutil.rmtree(own)
    model.name_or_path = model.config._name_or_path = str(folder)


def importance_arguments() -> dict[str, Any]:
    """GRPOConfig only: correct each token for the gap between vLLM's and the trainer's probabilities. TRL's
    default, one ratio for the whole sequence, masks long completions wholesale for a small gap per token."""
    return {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 3.0,
    }
