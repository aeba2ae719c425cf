"""vLLM for the model that is trained: in the trainers' processes, or as a server on further GPUs."""

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
"""Least key-value cache that vLLM gets on a GPU beside the weights."""


@contextlib.contextmanager
def engine_arguments(
    config: Any, model: Any, tokenizer: Any, items: Sequence[Item], work: Path, server: ServerPlacement | None
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of GRPOConfig and DistillationConfig that sample with `config.engine`; none for transformers.

    Build and run the trainer inside the context. A server runs until it is left; without one, on a GPU, vLLM sleeps while
    the trainer computes: its weights and cache free the memory that gradients need.

    Args:
        config: engine, cap of a completion, and chat template switch.
        model: the trained model.
        items: the longest prompt, template included, and the cap give vLLM's maximum length.
        work: gets a folder that vLLM can read, if the model's own has another architecture.
        server: GPUs of a server; None for the trainers' processes.

    Raises:
        ServerError: the server did not start; names the cause.
    """
    if config.engine != "vllm":
        yield {}
        return
    longest = max(len(prompt_token_ids(tokenizer, item.prompt, config.reasoning)) for item in items)
    length = longest + config.max_completion_tokens
    _make_readable(model, tokenizer, work)
    if server is None:
        with eager_on_cpu():
            yield _colocated(model, length)
    elif int(os.environ.get("RANK", "0")):  # only the first rank starts the server and talks to it
        yield _remote("http://none")
    else:
        from repro.training.server_client import use_server_client

        with vllm_server(model.name_or_path, length, server, work) as url, use_server_client(work):
            yield _remote(url)


def _remote(url: str) -> dict[str, Any]:
    port = free_port()  # TRL's default is the same for all trainings on a machine
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
    """Return the share of a GPU of `total` bytes that vLLM takes to generate: weights in bfloat16, and a cache.

    At least 0.15, and never more than 0.6: the trainer's weights need the rest.
    """
    return round(min(max((2.2 * parameters + CACHE_BYTES) / total, 0.15), 0.6), 3)


def _make_readable(model: Any, tokenizer: Any, work: Path) -> None:
    """Save the model for vLLM to start from, if its own folder has another architecture or vocabulary.

    The trainer sends weights by name, so both must match. They do not if only the language model of a checkpoint is
    trained, or if its vocabulary was cut.
    """
    source = load_config(model.name_or_path)
    is_same = source.model_type == model.config.model_type and source.vocab_size == model.config.vocab_size
    if is_same:
        return
    folder, draft = work / "vllm-start", work / f"vllm-start-{os.getpid()}"
    if not folder.exists():
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        try:
            draft.rename(folder)
        except OSError:  # another rank was first
            shutil.rmtree(draft)
    model.name_or_path = model.config._name_or_path = str(folder)


def importance_arguments() -> dict[str, Any]:
    """Return GRPOConfig arguments that correct each token for the gap between vLLM's and the trainer's probabilities.

    TRL's default, one ratio for the whole sequence, masks long completions entirely for a small gap per token.
    """
    return {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 3.0,
    }
