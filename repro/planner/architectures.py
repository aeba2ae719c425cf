"""Model sizes, for estimates only: read from the model folder if there is one, else as published."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from repro.models.folder import count_parameters
from repro.models.loading import locate

DEFAULT_PARAMETERS = 8e9
"""Assumed for models whose name does not state their size."""


@dataclass(frozen=True)
class Architecture:
    """Sizes that memory and time depend on.

    Attributes:
        parameters: of the language model, in billions.
        hidden, intermediate: width of the residual stream, and of the feed-forward layers.
        heads, kv_heads, head_size: of attention; the key-value cache has kv_heads.
        local_layers, window: number of layers whose attention (and cache) only spans the last `window` tokens.
        norms: normalisations of the residual stream per layer.
        has_tower: the model has a vision tower next to the language model; only the latter is trained.
    """

    parameters: float
    layers: int
    hidden: int
    vocabulary: int
    intermediate: int
    heads: int
    kv_heads: int = 8
    head_size: int = 128
    local_layers: int = 0
    window: int = 0
    norms: int = 2
    has_tower: bool = False

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_size

    @property
    def layer_parameters(self) -> int:
        """Parameters of the linear layers of one layer."""
        return self.hidden * (2 * self.queries + 2 * self.keys + 3 * self.intermediate)


PUBLISHED: dict[str, Architecture] = {
    "google/gemma-3-1b-it": Architecture(1.00, 26, 1152, 262_144, 6912, 4, 1, 256, 22, 512, 4),
    "google/gemma-3-4b-it": Architecture(3.88, 34, 2560, 262_208, 10_240, 8, 4, 256, 29, 1024, 4, True),
    "google/gemma-3-12b-it": Architecture(11.77, 48, 3840, 262_208, 15_360, 16, 8, 256, 40, 1024, 4, True),
    "google/gemma-3-27b-it": Architecture(27.01, 62, 5376, 262_208, 21_504, 32, 16, 128, 52, 1024, 4, True),
    "Qwen/Qwen3-0.6B": Architecture(0.60, 28, 1024, 151_936, 3072, 16),
    "Qwen/Qwen3-1.7B": Architecture(1.72, 28, 2048, 151_936, 6144, 16),
    "Qwen/Qwen3-4B": Architecture(4.02, 36, 2560, 151_936, 9728, 32),
    "Qwen/Qwen3-8B": Architecture(8.19, 36, 4096, 151_936, 12_288, 32),
    "Qwen/Qwen3-14B": Architecture(14.77, 40, 5120, 151_936, 17_408, 40),
    "Qwen/Qwen3-32B": Architecture(32.76, 64, 5120, 151_936, 25_600, 64),
    "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B": Architecture(8.19, 36, 4096, 151_936, 12_288, 32),
    "meta-llama/Llama-3.1-8B-Instruct": Architecture(8.03, 32, 4096, 128_256, 14_336, 32),
    "meta-llama/Llama-3.2-3B-Instruct": Architecture(3.21, 28, 3072, 128_256, 8192, 24),
    "meta-llama/Llama-3.2-1B-Instruct": Architecture(1.24, 16, 2048, 128_256, 8192, 32, 8, 64),
    "Skywork/Skywork-Reward-V2-Llama-3.1-8B": Architecture(7.50, 32, 4096, 128_256, 14_336, 32),
}
"""Sizes from model cards and configurations, written from memory: only estimates may depend on them."""


def architecture(name: str) -> Architecture:
    """Return the sizes of a model given by toy name, folder or hub id.

    An unlisted hub id is guessed from the size in its name.
    """
    location = locate(name)
    if isinstance(location, Path):
        return _read_folder(location)
    return PUBLISHED.get(location) or _guess(location)


def named_parameters(name: str) -> float | None:
    """Return the parameter count stated in a name (8e9 for "Qwen/Qwen3-8B"), or None."""
    size = re.search(r"(\d+(?:\.\d+)?)([bBmM])\b", name)
    return None if size is None else float(size[1]) * (1e9 if size[2] in "bB" else 1e6)


def _read_folder(folder: Path) -> Architecture:
    config = json.loads((folder / "config.json").read_text())
    has_tower = "vision_config" in config
    config = {**config, **config.get("text_config", {})}
    heads, hidden = config.get("num_attention_heads", 8), config["hidden_size"]
    return Architecture(
        parameters=count_parameters(folder) / 1e9,
        layers=config["num_hidden_layers"],
        hidden=hidden,
        vocabulary=config.get("vocab_size", 0),
        intermediate=config.get("intermediate_size") or 4 * hidden,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or hidden // heads,
        local_layers=(config.get("layer_types") or []).count("sliding_attention"),
        window=config.get("sliding_window") or 0,
        norms=4 if str(config.get("model_type", "")).startswith(("gemma2", "gemma3")) else 2,
        has_tower=has_tower,
    )


def _guess(name: str) -> Architecture:
    billions = (named_parameters(name) or DEFAULT_PARAMETERS) / 1e9
    nearest = min(PUBLISHED.values(), key=lambda published: abs(published.parameters - billions))
    return replace(nearest, parameters=billions, has_tower=False)
