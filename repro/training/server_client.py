"""TRL's client of a vLLM server, with two things closed: seeds, and new weights where there is no NCCL."""

import contextlib
import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from trl.generation.vllm_client import VLLMClient

from repro.generation.server import LOCALHOST

AT_ONCE = 64
"""Requests under way together: the connections that TRL's client keeps."""


class ServerClient(VLLMClient):
    """Each prompt is drawn under a seed of its own, from this process's random stream: unseeded, a server's draws depend on
    what else it has drawn and in which order requests arrive, and no run could be repeated or resumed. (vLLM adds a
    completion's number to the seed of its prompt; one seed for a whole call would draw equal prompts alike.)

    New weights reach a server on GPUs by TRL's own way, NCCL. Elsewhere they go through a file on this machine.

    Args:
        folder: for that file.
        kwargs: what VLLMClient takes.
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
            super().update_named_params(metadata, named_params)
            return
        from safetensors.torch import save_file

        file = self.folder / "vllm-weights.safetensors"
        # copies: adapters are merged while the weights are walked, and taken out again at the end
        save_file({name: weights.detach().clone().contiguous() for name, weights in named_params}, file)
        call = {"method": "load_weights_file", "args": [str(file)]}
        self._post(f"{self.base_url}/collective_rpc", json=call)
        file.unlink()

    def generate(self, prompts: list[list[int]], n: int = 1, **kwargs: Any) -> dict[str, Any]:
        """See VLLMClient: n completions of each prompt, in the prompts' order."""
        seeds = torch.randint(2**62, (len(prompts),)).tolist()
        own = kwargs.pop("generation_kwargs", None) or {}

        def draw(k: int) -> dict[str, Any]:
            return super(ServerClient, self).generate(
                [prompts[k]], n=n, generation_kwargs={**own, "seed": seeds[k]}, **kwargs
            )

        with ThreadPoolExecutor(min(AT_ONCE, len(prompts))) as pool:
            parts = list(pool.map(draw, range(len(prompts))))
        return {name: [one for part in parts for one in part[name] or ()] or None for name in parts[0]}


@contextlib.contextmanager
def used_by_trainers(folder: Path) -> Iterator[None]:
    """Inside, TRL's trainers make this client of theirs."""
    import trl.generation.vllm_generation as theirs

    before = theirs.VLLMClient
    theirs.VLLMClient = functools.partial(ServerClient, folder=folder)
    for name in ("NO_PROXY", "no_proxy"):  # a proxy would be asked for its own 127.0.0.1
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), LOCALHOST]))
    try:
        yield
    finally:
        theirs.VLLMClient = before
