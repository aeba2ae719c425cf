"""TRL's vLLM client plus per-prompt seeds and weight updates without NCCL."""

import contextlib
import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from trl.generation.vllm_client import VLLMClient

from repro.generation.server import HOST_VARIABLE, LOCALHOST

CONCURRENT_REQUESTS = 64
"""As many as TRL's client keeps connections open."""
SERVED = torch.bfloat16
"""The dtype in which vLLM serves float32 models on a GPU; the server would round the weights to it anyway."""


class ServerClient(VLLMClient):
    """Samples each prompt with its own seed, drawn from this process's random stream.

    Without seeds, a server's samples depend on earlier requests and on the order in which requests arrive, so no run
    could be repeated or resumed. (vLLM adds a completion's index to its prompt's seed; with one seed for the whole
    call, equal prompts would get equal completions.)

    A server on GPUs receives new weights through TRL's NCCL transfer, any other server through a file on this machine.

    Args:
        folder: folder of that file.
        kwargs: arguments of VLLMClient.
    """

    def __init__(self, *, folder: Path, **kwargs: Any) -> None:
        self.folder = folder
        super().__init__(**kwargs)

    def init_communicator(self, device: Any = 0) -> None:
        """See VLLMClient."""
        if torch.device(device).type == "cuda":
            super().init_communicator(device)

    def update_named_params(
        self, metadata: list[tuple[str, str, list[int]]], named_params: Iterator[tuple[str, torch.Tensor]]
    ) -> None:
        """See VLLMClient."""
        if self.communicator is not None:
            torch.cuda.current_stream().synchronize()  # packing runs on streams that do not wait for the optimiser
            served = str(SERVED).removeprefix("torch.")
            super().update_named_params([(name, served, shape) for name, _, shape in metadata], _copies(named_params))
            return
        from safetensors.torch import save_file

        file = self.folder / "vllm-weights.safetensors"
        # copies, because adapters are merged during the iteration and unmerged at its end
        save_file({name: weights.detach().clone().contiguous() for name, weights in named_params}, file)
        call = {"method": "load_weights_file", "args": [str(file)]}
        self._post(f"{self.base_url}/collective_rpc", json=call)
        file.unlink()

    def generate(self, prompts: list[list[int]], n: int = 1, **kwargs: Any) -> dict[str, Any]:
        """See VLLMClient. Returns n completions per prompt, in prompt order."""
        seeds = torch.randint(2**62, (len(prompts),)).tolist()
        options = kwargs.pop("generation_kwargs", None) or {}

        def sample(k: int) -> dict[str, Any]:
            return super(ServerClient, self).generate(
                [prompts[k]], n=n, generation_kwargs={**options, "seed": seeds[k]}, **kwargs
            )

        with ThreadPoolExecutor(min(CONCURRENT_REQUESTS, len(prompts))) as pool:
            answers = list(pool.map(sample, range(len(prompts))))
        return {name: [value for answer in answers for value in answer[name] or ()] or None for name in answers[0]}


def _copies(named_params: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield copies in the served dtype, one by one; TRL unmerges adapters before vLLM has packed the last weights.

    vLLM packs on streams that do not wait for each other: adapters are merged on the first and unmerged on the last.
    """
    for name, weights in named_params:
        copied = weights.detach().to(SERVED, copy=True)
        torch.cuda.current_stream().synchronize()
        yield name, copied


@contextlib.contextmanager
def use_server_client(folder: Path) -> Iterator[None]:
    """Make TRL's trainers use `ServerClient` within the context."""
    import trl.generation.vllm_generation as trl_generation

    before = trl_generation.VLLMClient
    trl_generation.VLLMClient = functools.partial(ServerClient, folder=folder)
    for name in ("NO_PROXY", "no_proxy"):  # a proxy would resolve 127.0.0.1 to itself
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), LOCALHOST]))
    os.environ[HOST_VARIABLE] = LOCALHOST
    try:
        yield
    finally:
        trl_generation.VLLMClient = before
