"""Cards: what a GPU or a core of a CPU does at most, and the work of the host beside it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A GPU, or one core of a CPU.

    Attributes:
        bandwidth: of its memory, bytes a second.
        flops: dense products, floating-point operations a second: bfloat16 on a GPU, float32 on a CPU.
        gib: memory.
        layer_seconds: the host launches the operations of one layer forward, whatever their size.
        token_seconds: the host's work for one token that vLLM samples.
        load_seconds: of a stage that computes nothing: loading models, vLLM's start, saving.
        value_bytes: of one weight or cached value.
    """

    bandwidth: float
    flops: float
    gib: float
    layer_seconds: float
    token_seconds: float
    load_seconds: float
    value_bytes: int


LAUNCHING = 0.95e-3
"""MEASURED on one H100: eight passes of an SFT step take 0.87 s. What their products leave is shared by 28 layers, a backward
pass counted as two forward passes."""
SAMPLED_TOKEN = 1.2e-4
"""MEASURED on one H100 with vLLM 0.26, log-probabilities stored: 2.1 s for 32 x 512 tokens, 40 s at most for 1,024 x 256."""
GPU_LOADING = 120.0
"""ASSUMED: vLLM's start took 42 s on one H100, 23 of them compilation; loading and saving come on top."""


def _gpu(bandwidth: float, flops: float, gib: float) -> Card:
    return Card(bandwidth, flops, gib, LAUNCHING, SAMPLED_TOKEN, GPU_LOADING, value_bytes=2)


H100 = _gpu(3.35e12, 989e12, 79.2)
CARDS = {"24 GB (RTX 3090)": _gpu(0.936e12, 71e12, 23.6), "80 GB (H100 SXM)": H100}
"""DERIVED: bandwidth and products as the data sheets say, memory as CUDA reports it."""
CPU_CORE = Card(10e9, 200e9, 4.0, 1e-3, 0.0, 0.7, value_bytes=4)
"""ASSUMED: one core of a common server; the factors of `planner.fitted` are measured against it."""
