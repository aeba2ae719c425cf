"""Cards: peak figures of a GPU or a CPU core, and the host's overhead."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A GPU, or one core of a CPU.

    Attributes:
        bandwidth: of its memory, bytes a second.
        flops: peak dense matmul throughput, floating-point operations a second: bfloat16 on a GPU, float32 on a CPU.
        gib: memory.
        layer_seconds: the host's time to launch one layer's forward operations, regardless of their size.
        token_seconds: the host's time per token sampled by vLLM.
        load_seconds: fixed time of a stage: loading models, starting vLLM, saving.
        value_bytes: bytes per weight or cached value.
    """

    bandwidth: float
    flops: float
    gib: float
    layer_seconds: float
    token_seconds: float
    load_seconds: float
    value_bytes: int


LAUNCHING = 0.95e-3
"""MEASURED on one H100: eight passes of an SFT step take 0.87 s. The time not spent in matmuls is divided over 28
layers, counting a backward pass as two forward passes."""
SAMPLED_TOKEN = 1.2e-4
"""MEASURED on one H100 with vLLM 0.26, log-probabilities stored: 2.1 s for 32 x 512 tokens, 40 s at most for 1,024 x 256."""
GPU_LOADING = 120.0
"""ASSUMED: vLLM's start took 42 s on one H100, 23 of them compilation; loading and saving come on top."""


def _gpu(bandwidth: float, flops: float, gib: float) -> Card:
    return Card(bandwidth, flops, gib, LAUNCHING, SAMPLED_TOKEN, GPU_LOADING, value_bytes=2)


H100 = _gpu(3.35e12, 989e12, 79.2)
CARDS = {"24 GB (RTX 3090)": _gpu(0.936e12, 71e12, 23.6), "80 GB (H100 SXM)": H100}
"""DERIVED: bandwidth and FLOPS from the data sheets, memory as reported by CUDA."""
CPU_CORE = Card(10e9, 200e9, 4.0, 1e-3, 0.0, 0.7, value_bytes=4)
"""ASSUMED: one core of a typical server; the factors in `planner/fitted.toml` are relative to it."""
