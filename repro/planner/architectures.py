"""Sizes of models, for estimates only: read from a model folder if there is one, else as published."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from repro.models.folder import count_parameters
from repro.models.loading import locate

DEFAULT_PARAMETERS = 8e9
"""Of a model whose name does not say its size."""


@dataclass(frozen=True)
class Architecture:
    """Sizes that memory and time depend on.

    Attributes:
        parameters: of the language model, in billions.
        kv_heads, head_size: of the key-value cache.
        local_layers, window: layers whose attention, and cache, reach back `window` tokens only.
    """

    parameters: float
    layers: int
    hidden: int
    vocabulary: int
    kv_heads: int = 8
    head_size: int = 128
    local_layers: int = 0
    window: int = 0


PUBLISHED: dict[str, Architecture] = {
    "google/gemma-3-1b-it": Architecture(1.00, 26, 1152, 262_144, 1, 256, 22, 512),
    "google/gemma-3-4b-it": Architecture(3.88, 34, 2560, 262_208, 4, 256, 29, 1024),
    "google/gemma-3-12b-it": Architecture(11.77, 48, 3840, 262_208, 8, 256, 40, 1024),
    "google/gemma-3-27b-it": Architecture(27.01, 62, 5376, 262_208, 16, 128, 52, 1024),
    "Qwen/Qwen3-0.6B": Architecture(0.60, 28, 1024, 151_936),
    "Qwen/Qwen3-1.7B": Architecture(1.72, 28, 2048, 151_936),
    "Qwen/Qwen3-4B": Architecture(4.02, 36, 2560, 151_936),
    "Qwen/Qwen3-8B": Architecture(8.19, 36, 4096, 151_936),
    "Qwen/Qwen3-14B": Architecture(14.77, 40, 5120, 151_936),
    "Qwen/Qwen3-32B": Architecture(32.76, 64, 5120, 151_936),
    "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B": Architecture(8.19, 36, 4096, 151_936),
    "meta-llama/Llama-3.1-8B-Instruct": Architecture(8.03, 32, 4096, 128_256),
    "meta-llama/Llama-3.2-3B-Instruct": Architecture(3.21, 28, 3072, 128_256),
    "meta-llama/Llama-3.2-1B-Instruct": Architecture(1.24, 16, 2048, 128_256, 8, 64),
    "Skywork/Skywork-Reward-V2-Llama-3.1-8B": Architecture(7.50, 32, 4096, 128_256),
}
"""As the model cards and configurations say; written from memory, so only estimates may depend on them."""


def architecture(name: str) -> Architecture:
    """Return the sizes of a model, given as a toy name, folder or hub id.

    A hub id that is not listed is guessed from the size in its name.
    """
    location = locate(name)
    if isinstance(location, Path):
        return _read_folder(location)
    return PUBLISHED.get(location) or _guess(location)


def named_parameters(name: str) -> float | None:
    """Return the parameters that a name states (8e9 of "Qwen/Qwen3-8B"), or None."""
    size = re.search(r"(\d+(?:\.\d+)?)([bBmM])\b", name)
    return None if size is None else float(size[1]) * (1e9 if size[2] in "bB" else 1e6)


def _read_folder(folder: Path) -> Architecture:
    config = json.loads((folder / "config.json").read_text())
    config = {**config, **config.get("text_config", {})}
    parameters = count_parameters(folder) / 1e9
    heads, hidden, layers = config.get("num_attention_heads", 8), config["hidden_size"], config["num_hidden_layers"]
    return Architecture(
        parameters,
        layers,
        hidden,
        config.get("vocab_size", 0),
        config.get("num_key_value_heads") or heads,
        config.get("head_dim") or hidden // heads,
        (config.get("layer_types") or []).count("sliding_attention"),
        config.get("sliding_window") or 0,
    )


def _guess(name: str) -> Architecture:
    billions = (named_parameters(name) or DEFAULT_PARAMETERS) / 1e9
    nearest = min(PUBLISHED.values(), key=lambda published: abs(published.parameters - billions))
    return replace(nearest, parameters=billions)
