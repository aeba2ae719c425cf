"""Model folders as `save_pretrained` writes them: checked and measured in milliseconds, before any work."""

import json
import math
from pathlib import Path
from typing import Any

from repro.errors import InputError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_folder(path: Path) -> None:
    """Check that a folder has a configuration, complete weights, a tokenizer and no adapter. Imports no library.

    Raises:
        InputError: names the file and the fix.
    """
    _check_adapter(path)
    if not (path / "config.json").is_file():
        if (path / "model" / "config.json").is_file():
            raise InputError(
                f"model folder {path}: no config.json. Its model is in {path / 'model'}: give that folder."
            )
        raise InputError(f"model folder {path}: no config.json. Give a folder made by save_pretrained.")
    for name in ("config.json", "generation_config.json"):
        _check_json_object(path, name)
    if not any(path.glob("*.safetensors")):
        raise InputError(
            f"model folder {path}: no *.safetensors weights (pickled weights are not read). Save the model again with save_pretrained."
        )
    for weights in path.glob("*.safetensors"):
        _check_weights(weights)
    _check_strays(path)
    _check_numbers(path)
    if not any((path / file).is_file() for file in _TOKENIZER_FILES):
        raise InputError(f"model folder {path}: no tokenizer. Save it there with tokenizer.save_pretrained.")


def _check_adapter(path: Path) -> None:
    """Reject an adapter: transformers would silently apply it to the weights beside it, vLLM would not."""
    if not (path / "adapter_config.json").is_file():
        return
    if any(not file.name.startswith("adapter") for file in path.glob("*.safetensors")):
        raise InputError(
            f"model folder {path}: holds an adapter (adapter_config.json) next to full weights, and would be applied on"
            " top of them. If it is merged already, remove adapter_config.json and adapter_model.*; if not, merge it."
        )
    raise InputError(
        f"model folder {path}: holds an adapter (adapter_config.json) without its base model. Merge it"
        " (peft's merge_and_unload) and save the merged model with its tokenizer."
    )


def _check_json_object(path: Path, name: str) -> None:
    """Check that a file, if it exists, is a JSON object; transformers may silently ignore a broken one."""
    file = path / name
    try:
        if file.exists() and not isinstance(json.loads(file.read_text(encoding="utf-8")), dict):
            raise ValueError
    except (OSError, ValueError, RecursionError):
        raise InputError(f"model folder {path}: {name} is not a JSON object. Save the model again.") from None


def _check_weights(file: Path) -> None:
    """Check that the file is as long as its header says, so that an incomplete download fails before any work."""
    try:
        size, tensors = _read_header(file)
        end = 8 + size + max(tensor["data_offsets"][1] for tensor in tensors.values())
    except OSError as error:
        raise InputError(f"weights {file}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        end = None
    if end != file.stat().st_size:
        raise InputError(f"weights {file}: not a complete safetensors file. Copy or save it again.")


def _check_strays(path: Path) -> None:
    """Reject weight files that one engine reads and another does not.

    transformers reads model.safetensors, or else the index's files; vLLM reads the index's files, or else all files.
    """
    index = path / "model.safetensors.index.json"
    used = {"model.safetensors"}
    if index.is_file():
        try:
            used = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"model folder {path}: {index.name} is not a valid weight index. Save the model again."
            ) from None
        if missing := sorted(name for name in used if not (path / name).is_file()):
            raise InputError(f"model folder {path}: {index.name} lists {missing[0]}, which is missing. Copy it again.")
        strays = {"model.safetensors"} - used
    else:
        strays = {file.name for file in path.glob("*.safetensors")}
        if "model.safetensors" not in strays:
            raise InputError(f"model folder {path}: no model.safetensors and no {index.name}. Save the model again.")
        strays -= used
    if strays := {name for name in strays if (path / name).is_file()}:
        raise InputError(
            f"model folder {path}: {min(strays)} is not part of the model in {index.name if index.is_file() else min(used)},"
            " but some libraries would load it. Move it out of the folder."
        )


def _check_numbers(path: Path) -> None:
    """Reject integer weights unless config.json declares a quantisation: they would be used as plain numbers."""
    if "quantization_config" in json.loads((path / "config.json").read_text(encoding="utf-8")):
        return
    for file in path.glob("*.safetensors"):
        for name, tensor in _read_header(file)[1].items():
            if name.endswith("weight") and tensor["dtype"][0] in "IUB" and tensor["dtype"] != "BF16":
                raise InputError(
                    f"weights {file}: {name} holds integers ({tensor['dtype']}), but config.json has no"
                    " quantization_config. Save the model again."
                )


def count_parameters(folder: Path) -> int:
    """Count the elements of all tensors in a folder's safetensors files, from their headers."""
    headers = [_read_header(file)[1] for file in folder.glob("*.safetensors")]
    return sum(math.prod(tensor["shape"]) for tensors in headers for tensor in tensors.values())


def _read_header(file: Path) -> tuple[int, dict[str, Any]]:
    """Return the size of a safetensors header in bytes, and its tensors by name."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= file.stat().st_size:
            raise ValueError(f"{file}: a header of {size} bytes")
        header = json.loads(stream.read(size))
    return size, {name: tensor for name, tensor in header.items() if name != "__metadata__"}
