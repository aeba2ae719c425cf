"""vLLM for the model in training: in the trainers' processes, or as a server on other GPUs."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock

from repro.errors import InputError
from repro.generation.gpu_share import check_slices
from repro.generation.server import ServerPlacement, free_port, vllm_server
from repro.generation.vllm_options import compiled_name, engine_length, source_options
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_config
from repro.system.gpus import visible_gpus
from repro.tasks import Item
from repro.training.optimisation import data_parallel_ranks
from repro.training.resources import TrainingResources
from repro.training.sleeping_engine import note_engine_start, refuse_second_engine
from repro.training.vllm_memory import FLOAT32, GIB, engine_share, engine_weights, training_bytes


@contextlib.contextmanager
def engine_arguments(
    config: Any,
    model: Any,
    tokenizer: Any,
    items: Sequence[Item],
    work: Path,
    server: ServerPlacement | None,
    *,
    still_to_come: float,
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of GRPOConfig and DistillationConfig for `config.engine`; empty for transformers.

    Build and run the trainer within the context. A server runs until the context is left; without a server, vLLM on a
    GPU sleeps while the trainer computes, which frees the memory of its weights and cache for gradients.

    Args:
        config: engine, completion cap, and chat template switch.
        model: the trained model.
        items: prompts; the longest one, including the template, plus the cap is vLLM's maximum length.
        work: receives a folder that vLLM can load, if the model's own folder has another architecture.
        server: GPUs of a server; None to sample in the trainers' processes.
        still_to_come: further bytes that the trainer will hold on this GPU while vLLM samples.

    Raises:
        ServerError: the server did not start; names the cause.
        InputError: the trainer leaves too little memory for vLLM, or this process has already run such an engine.
    """
    if config.engine != "vllm":
        yield {}
        return
    longest = max(len(prompt_token_ids(tokenizer, item.prompt, config.reasoning)) for item in items)
    _make_readable(model, tokenizer, work)
    length = engine_length(model.name_or_path, longest + config.max_completion_tokens)
    if server is None:
        with _engine_options(model.name_or_path):
            yield _colocated(model, length, still_to_come)
    elif int(os.environ.get("RANK", "0")):  # only the first rank starts the server and talks to it
        yield _remote("http://none")
    else:
        from repro.training.server_client import use_server_client

        with (
            compiled_name(model.name_or_path) if server.gpus else contextlib.nullcontext(model.name_or_path) as name,
            vllm_server(name, length, server, work) as url,
            use_server_client(work),
        ):
            yield _remote(url)


def memory_to_come(model: Any, adapters: int | None, frozen: Any, resources: TrainingResources) -> float:
    """Return the bytes that a trainer will hold on this GPU while vLLM samples; call before its model is on the GPU.

    Args:
        model: the trained model.
        adapters: number of adapter parameters if only these are trained; None if all parameters are.
        frozen: a frozen model not yet moved to the GPU, sharded like the trained one; None if there is none.
    """
    ranks = data_parallel_ranks()
    shards = ranks if resources.shard else 1
    copies = 2 if ranks > 1 and not resources.shard else 1  # DDP reduces gradients in buckets, which copy them
    parameters = model.num_parameters() + (adapters or 0)
    trained = parameters if adapters is None else adapters
    trainer = training_bytes(parameters, trained, shards, gradient_bytes=copies * FLOAT32)
    bytes_of_frozen = 0 if frozen is None else sum(p.numel() * p.element_size() for p in frozen.parameters())
    # Sharded weights are gathered and sent to vLLM one by one; the output layer is the largest
    gathered = model.get_output_embeddings().weight.numel() * FLOAT32 if resources.shard else 0
    return trainer + bytes_of_frozen / shards + gathered


def _remote(url: str) -> dict[str, Any]:
    port = free_port()  # TRL's default is the same for all runs on a machine
    return {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": url, "vllm_group_port": port}


def _colocated(model: Any, length: int, still_to_come: float) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    if cuda:
        check_slices(visible_gpus()[:1])
        refuse_second_engine()
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": length,
        "vllm_gpu_memory_utilization": _share_of_gpu(model.num_parameters(), still_to_come) if cuda else 0.3,
        "vllm_enable_sleep_mode": cuda,
    }


def _share_of_gpu(parameters: int, still_to_come: float) -> float:
    """Return vLLM's share of this process's GPU.

    Raises:
        InputError: its weights would not fit.
    """
    import torch

    free, total = torch.cuda.mem_get_info()
    share = engine_share(total, free, still_to_come)
    if share * total <= engine_weights(parameters):
        raise InputError(
            f"vLLM next to the trainer: {free / GIB:.1f} of {total / GIB:.1f} GiB on this GPU are free, training will"
            f" take {still_to_come / GIB:.1f} GiB more, and vLLM's copy of the weights alone needs {engine_weights(parameters) / GIB:.1f} GiB."
            " Use --vllm-server 1, more --ranks with --shard always, or a GPU with more memory."
        )
    return round(share, 3)


@contextlib.contextmanager
def _engine_options(model: str) -> Iterator[None]:
    """Add engine arguments that TRL cannot set; build and run the trainer within the context.

    These are the pinned revision and a name under which compiled code is cached. On a CPU, also: no compilation, which
    takes longer than it would ever save there, and weights that can be replaced.
    """
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; the default is half of the memory
    import trl.generation.vllm_generation as trl_generation
    import vllm
    from vllm.platforms import current_platform

    from repro.generation.vllm_worker import keep_weights

    is_cpu = current_platform.is_cpu()
    keep_weights()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:  # on a CPU, accelerate's fixed port would allow one run per machine
        os.environ["MASTER_PORT"] = str(free_port())
    with contextlib.nullcontext(model) if is_cpu else compiled_name(model) as name:
        options = {"model": name, **source_options(model)} | ({"enforce_eager": True} if is_cpu else {})
        before = trl_generation.LLM
        # vLLM mistakes each kernel that the trainer compiles for its own, and warns
        logging.getLogger("vllm.utils.jit_monitor").setLevel(logging.ERROR)

        def start(**arguments: Any) -> Any:
            if arguments.get("enable_sleep_mode"):
                note_engine_start()
            return vllm.LLM(**(arguments | options))

        trl_generation.LLM = start
        try:
            yield
        finally:
            trl_generation.LLM = before


def _make_readable(model: Any, tokenizer: Any, work: Path) -> None:
    """Save the model for vLLM to start from, if its own folder has another architecture or vocabulary size.

    The trainer sends weights by name, so both must match. They do not if only the language model of a multimodal
    checkpoint is trained, or if its vocabulary was cut.
    """
    source = load_config(model.name_or_path)
    is_same = source.model_type == model.config.model_type and source.vocab_size == model.config.vocab_size
    if is_same:
        return
    folder, draft = work / "vllm-start", work / "vllm-start.draft"
    work.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(work / "vllm-start.lock"):  # the first rank to get the lock saves it for all
        if not folder.exists():
            shutil.rmtree(draft, ignore_errors=True)
            model.save_pretrained(draft, state_dict=_rounded(model))
            tokenizer.save_pretrained(draft)
            draft.rename(folder)
    model.name_or_path = model.config._name_or_path = str(folder)


def _rounded(model: Any) -> dict[str, Any]:
    """Return the weights in bfloat16, as vLLM serves them; tied ones stay one tensor."""
    weights = model.state_dict()
    rounded = {tensor.data_ptr(): tensor.bfloat16() for tensor in weights.values()}
    return {name: rounded[tensor.data_ptr()] for name, tensor in weights.items()}


def importance_arguments() -> dict[str, Any]:
    """Return GRPOConfig arguments that correct each token for the gap between vLLM's and the trainer's probabilities.

    TRL's default, one ratio per sequence, would mask long completions entirely for a small gap per token.
    """
    return {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 3.0,
    }
