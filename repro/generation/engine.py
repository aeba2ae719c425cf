"""A small interface over the engines that sample completions."""

from pathlib import Path
from typing import Protocol

from repro.generation.completion import Completion
from repro.generation.config import EngineName
from repro.models.positions import check_length


class Engine(Protocol):
    """Samples completions of tokenised prompts from a model."""

    def generate(
        self, prompt_ids: list[list[int]], n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Completion]]:
        """Return n completions per prompt, in prompt order; equal arguments give equal completions."""
        ...

    def close(self) -> None:
        """Free the model's memory."""
        ...


def open_engine(name: EngineName, model: Path | str, max_length: int, tensor_parallel: int = 1) -> Engine:
    """Load the model into the named engine.

    Args:
        max_length: prompt plus completion, tokens.
        tensor_parallel: GPUs over which vLLM shards the model.

    Raises:
        InputError: the model's context length is below max_length.
        EngineError: vLLM's process did not start.
    """
    check_length(model, max_length, 0, "the longest prompt with its completion")
    if name == "vllm":
        if _needs_process():
            from repro.generation.vllm_process import VllmProcess

            return VllmProcess(model, max_length, tensor_parallel)
        from repro.generation.vllm_engine import VllmEngine

        return VllmEngine(model, max_length, tensor_parallel)
    from repro.generation.transformers_engine import TransformersEngine

    return TransformersEngine(model)


def _needs_process() -> bool:
    """Return True on a GPU, where vLLM frees memory only when its process exits."""
    import torch

    return torch.cuda.is_available()
