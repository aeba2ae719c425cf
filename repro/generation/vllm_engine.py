"""Sample with vLLM, on a GPU or with the CPU build; the same output format as every engine."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.generation.completion import Completion
from repro.generation.config import VLLM_NOT_INSTALLED
from repro.generation.gpu_share import check_slices, own_share_now
from repro.generation.vllm_options import compiled_name, engine_length, source_options
from repro.generation.watchdog import Watchdog
from repro.system.gpu_memory import free_gpu_memory
from repro.system.gpus import visible_gpus

_CPU_OPTIONS: dict[str, Any] = {
    "enforce_eager": True,
    "gpu_memory_utilization": 0.3,  # the share of the machine's memory that must be free
    # A prompt split over two steps needs its generator's offset reset, which torch supports only on a GPU
    "enable_chunked_prefill": False,
}


class VllmEngine:
    """A vLLM engine in this process, with worker processes if it uses several GPUs.

    On a GPU a closed engine frees no memory until its process ends, so `engine.open_engine` uses `VllmProcess` there.
    Log-probabilities are those of the sampling distribution.
    """

    def __init__(self, model: Path | str, max_length: int, tensor_parallel: int = 1) -> None:
        # The core runs in this process (on a GPU, a dedicated one: `vllm_process`), so its errors reach the caller.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        try:
            from vllm import LLM
        except ImportError:
            raise InputError(VLLM_NOT_INSTALLED) from None
        if _on_cpu() and tensor_parallel > 1:
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # else it requires a NUMA node for each worker
        self._name = contextlib.ExitStack()
        name = str(model) if _on_cpu() else self._name.enter_context(compiled_name(model))
        self._llm = LLM(
            model=name,
            **source_options(model),
            max_model_len=engine_length(model, max_length),
            tensor_parallel_size=tensor_parallel,
            logprobs_mode="processed_logprobs",
            enable_prefix_caching=True,
            disable_log_stats=True,
            **(_CPU_OPTIONS if _on_cpu() else _gpu_options(tensor_parallel)),
        )
        self._watchdog = Watchdog()

    def generate(
        self, prompt_ids: list[list[int]], n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Completion]]:
        """See `Engine.generate`."""
        from vllm import SamplingParams

        self._llm.reset_prefix_cache()  # else completions depend on earlier calls: a cached prompt has other batches
        # Flat lists instead of a dictionary and an object per token: 187 bytes, not 410 (measured)
        flat = {"flat_logprobs": True} if hasattr(SamplingParams, "flat_logprobs") else {}
        # One request per completion, each with its own seed: n > 1 with one seed repeats the same completion.
        requests = [{"prompt_token_ids": ids} for ids in prompt_ids for _ in range(n)]
        params = [
            SamplingParams(
                temperature=temperature,
                top_p=1.0,
                top_k=0,
                max_tokens=max_tokens,
                logprobs=0,
                seed=(seed * 1_000_003 + i) % 2**63,
                detokenize=False,
                **flat,
            )
            for i in range(len(requests))
        ]
        outputs = [request.outputs[0] for request in self._llm.generate(requests, params, use_tqdm=False)]
        completions = [
            Completion(
                list(out.token_ids),
                sampled_log_probs(out.token_ids, out.logprobs),
                "eos" if out.finish_reason == "stop" else "length",
            )
            for out in outputs
        ]
        return [completions[i : i + n] for i in range(0, len(completions), n)]

    def close(self) -> None:
        """Shut the engine down."""
        self._watchdog.stop()
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        self._name.close()
        free_gpu_memory()  # also host memory: engines are in reference cycles


def sampled_log_probs(token_ids: Sequence[int], recorded: Any) -> list[float]:
    """Return the log-probability of each sampled token, nats.

    Args:
        recorded: vLLM's `FlatLogprobs`, in which the sampled token comes first at each position; or a list of dictionaries.
    """
    if hasattr(recorded, "start_indices"):
        return [recorded.logprobs[start] for start in recorded.start_indices]
    return [position[token].logprob for token, position in zip(token_ids, recorded, strict=True)]


def _gpu_options(tensor_parallel: int) -> dict[str, Any]:
    gpu_names = visible_gpus()[:tensor_parallel]
    check_slices(gpu_names)
    return {"gpu_memory_utilization": own_share_now(gpu_names)}


def _on_cpu() -> bool:
    import torch

    return not torch.cuda.is_available()
