"""Attention of float32 models on a GPU without materialising the full score matrix."""

import contextlib
from collections.abc import Iterator

import torch
import transformers.integrations.sdpa_attention as sdpa


@contextlib.contextmanager
def repeated_keys() -> Iterator[None]:
    """Make transformers repeat grouped keys and values in float32 on a GPU, as it does where padding needs a mask.

    Without padding it leaves that to torch, whose fused kernels for grouped-query attention support only 16-bit types
    (2.11). In float32 the fallback keeps [sequences, heads, tokens, tokens]: 4.25 GiB for 16 heads and 8,448 tokens.
    """
    before = sdpa.use_gqa_in_sdpa

    def is_grouped(mask: torch.Tensor | None, key: torch.Tensor, value: torch.Tensor) -> bool:
        return before(mask, key, value) and not (key.is_cuda and key.dtype == torch.float32)

    sdpa.use_gqa_in_sdpa = is_grouped
    try:
        yield
    finally:
        sdpa.use_gqa_in_sdpa = before
