"""Attention of float32 models on a GPU without the scores of all pairs of tokens."""

import contextlib
from collections.abc import Iterator

import torch
import transformers.integrations.sdpa_attention as sdpa


@contextlib.contextmanager
def repeated_keys() -> Iterator[None]:
    """Let transformers repeat grouped keys and values in float32 on a GPU, as it does where padding needs a mask.

    It leaves that to torch where there is no padding. torch's kernels for grouped keys take 16 bits alone (2.11): in
    float32 the general path keeps [sequences, heads, tokens, tokens], for 16 heads and 8,448 tokens 4.25 GiB each time.
    """
    before = sdpa.use_gqa_in_sdpa

    def is_grouped(mask: torch.Tensor | None, key: torch.Tensor, value: torch.Tensor) -> bool:
        return before(mask, key, value) and not (key.is_cuda and key.dtype == torch.float32)

    sdpa.use_gqa_in_sdpa = is_grouped
    try:
        yield
    finally:
        sdpa.use_gqa_in_sdpa = before
