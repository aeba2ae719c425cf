"""Whether a folder looks like a model that `save_pretrained` wrote: told before any work, in milliseconds."""

import json
from pathlib import Path

from repro.errors import InputError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_folder(path: Path) -> None:
    """Whether a folder has a configuration, weights as long as they say, and a tokenizer. Imports no library.

    Raises:
        InputError: names the file and the mend.
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
    """Whether the file is as long as its header says: a download that was cut off is told before any work."""
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size)) if 2 <= size <= file.stat().st_size else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except OSError as error:
        raise InputError(f"weights {file}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        ends = []
    if not ends or 8 + size + max(ends) != file.stat().st_size:
        raise InputError(f"weights {file}: not a whole safetensors file. Copy or save it again.")
