"""Model folders as `save_pretrained` writes them: checked and measured in milliseconds, before any work."""

import json
import math
from pathlib import Path
from typing import Any

from repro.errors import InputError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_folder(path: Path) -> None:
    """Check that a folder has a configuration, complete weights and a tokenizer. Imports no library.

    Raises:
        InputError: names the file and the fix.
    """
    if not (path / "config.json").is_file():
        raise InputError(f"model folder {path}: no config.json. Give a folder made by save_pretrained.")
    try:
        if not isinstance(json.loads((path / "config.json").read_text()), dict):
            raise ValueError
    except (OSError, ValueError):
        raise InputError(f"model folder {path}: config.json is not a JSON object. Save the model again.") from None
    if not any(path.glob("*.safetensors")):
        raise InputError(f"model folder {path}: no *.safetensors weights (pickled weights are not read). Re-save it.")
    for weights in path.glob("*.safetensors"):
        _check_weights(weights)
    if not any((path / file).is_file() for file in _TOKENIZER_FILES):
        raise InputError(f"model folder {path}: no tokenizer. Save it there with tokenizer.save_pretrained.")


def _check_weights(file: Path) -> None:
    """Check that the file is as long as its header says: an incomplete download fails before any work."""
    try:
        size, tensors = _read_header(file)
        end = 8 + size + max(tensor["data_offsets"][1] for tensor in tensors.values())
    except OSError as error:
        raise InputError(f"weights {file}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        end = None
    if end != file.stat().st_size:
        raise InputError(f"weights {file}: not a complete safetensors file. Copy or save it again.")


def count_parameters(folder: Path) -> int:
    """Count the elements of all tensors in a folder's safetensors files, from their headers."""
    headers = [_read_header(file)[1] for file in folder.glob("*.safetensors")]
    return sum(math.prod(tensor["shape"]) for tensors in headers for tensor in tensors.values())


def _read_header(file: Path) -> tuple[int, dict[str, Any]]:
    """Return the bytes of a safetensors header, and its tensors by name."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= file.stat().st_size:
            raise ValueError(f"{file}: a header of {size} bytes")
        header = json.loads(stream.read(size))
    return size, {name: tensor for name, tensor in header.items() if name != "__metadata__"}
