"""Cards: peak figures of a GPU or a CPU core, and the host's overhead."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Card:
    """A GPU, or one core of a CPU.

    Attributes:
        name: as in plans.
        bandwidth: of its memory, bytes a second.
        flops: peak dense matmul throughput, floating-point operations a second: bfloat16 on a GPU, float32 on a CPU.
        gib: memory.
        layer_seconds: the host's time to launch one layer's forward operations, regardless of their size.
        token_seconds: the host's time per token sampled by vLLM.
        load_seconds: fixed time of a stage: loading models, starting vLLM, saving.
        value_bytes: bytes per weight or cached value.
    """

    name: str
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


def _gpu(name: str, bandwidth: float, flops: float, gib: float) -> Card:
    return Card(name, bandwidth, flops, gib, LAUNCHING, SAMPLED_TOKEN, GPU_LOADING, value_bytes=2)


H100 = _gpu("H100", 3.35e12, 989e12, 79.2)
CARDS = {"24 GB (RTX 3090)": _gpu("RTX 3090", 0.936e12, 71e12, 23.6), "80 GB (H100 SXM)": H100}
"""DERIVED: bandwidth and FLOPS from the data sheets, memory as reported by CUDA."""
DATA_SHEETS: Mapping[str, tuple[float, float]] = {
    "A10": (0.600e12, 125e12),
    "A10G": (0.600e12, 70e12),
    "A30": (0.933e12, 165e12),
    "A40": (0.696e12, 150e12),
    "A100": (1.555e12, 312e12),
    "A100 80GB": (1.935e12, 312e12),
    "A100 SXM 80GB": (2.039e12, 312e12),
    "A100 SXM4 80GB": (2.039e12, 312e12),
    "B200": (8.0e12, 2250e12),
    "GB200": (8.0e12, 2500e12),
    "GH200": (4.0e12, 989e12),
    "H100": (H100.bandwidth, H100.flops),
    "H100 NVL": (3.9e12, 835e12),
    "H100 PCIe": (2.0e12, 756e12),
    "H20": (4.0e12, 148e12),
    "H200": (4.8e12, 989e12),
    "H200 NVL": (4.8e12, 835e12),
    "L4": (0.300e12, 121e12),
    "L40": (0.864e12, 181e12),
    "L40S": (0.864e12, 362e12),
    "RTX 3090": (0.936e12, 71e12),
    "RTX 4090": (1.008e12, 165e12),
    "RTX 5090": (1.792e12, 210e12),
    "RTX 6000 Ada": (0.960e12, 364e12),
    "RTX A6000": (0.768e12, 155e12),
}
"""DERIVED from the data sheets, written from memory: bytes per second, and dense bfloat16 operations per second that
accumulate in float32. The keys are words of the name that nvidia-smi reports; only estimates may depend on these figures."""
OTHER_GPU = re.compile(r"MIG|Laptop|Ti|D|S[Uu]\w+|\d+[QCAB]")
"""Words of names that have another GPU's words as well: slices (MIG, or of a virtual GPU), laptops, and variants."""
CPU_CORE = Card("CPU core", 10e9, 200e9, 4.0, 1e-3, 0.0, 0.7, value_bytes=4)
"""ASSUMED: one core of a typical server; the factors in `planner/fitted.toml` are relative to it."""


def machine_gpu(machine: Mapping[str, Any]) -> Card:
    """Return the slowest of a machine's GPUs; an H100 if it has none, or in place of one that is not listed.

    Args:
        machine: from `system.hardware.hardware`, or as a record stores it.
    """
    gpus = [_find(gpu["name"], gpu["memory_gib"]) for gpu in machine["gpus"]]
    return min(gpus, key=lambda gpu: min(gpu.flops / H100.flops, gpu.bandwidth / H100.bandwidth), default=H100)


def _find(name: str, gib: float) -> Card:
    """Return the listed card whose words are all in the name, the one with the most of them."""
    words = set(re.split(r"[\s-]+", name))
    matching = [listed for listed in DATA_SHEETS if words.issuperset(listed.split())]
    if not matching or any(map(OTHER_GPU.fullmatch, words)):
        return replace(H100, name=f"H100 for the unlisted {name}")
    listed = max(matching, key=lambda name: len(name.split()))
    return _gpu(listed, *DATA_SHEETS[listed], gib)
