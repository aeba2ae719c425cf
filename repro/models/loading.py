"""Load a model and its tokenizer by the name that the user gives (toy name, folder, hub id), and identify it."""

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import InputError
from repro.models.folder import check_folder
from repro.models.generation_settings import make_savable
from repro.system import hub_lock
from repro.system.hub_access import refusal_behind
from repro.system.input_errors import did_you_mean_path
from repro.system.phases import phase
from repro.toy.models import model_folder

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_PROBE = "Let's add 12 + 3,456.78:\n\n    x = [1, 2]  # na\u00efve \u6570\u5b66 \U0001f642\tDone."
"""Text whose ids tell apart the ways to split: spaces, line breaks, digits, punctuation, other scripts."""
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")


def is_toy_model(name: str) -> bool:
    """Return True if the name is that of a model in the embedded world."""
    return name.startswith("toy:")


def locate(name: str) -> Path | str:
    """Return the argument for `from_pretrained`: a folder for toy names and local folders, else the hub id itself.

    Raises:
        InputError: no such toy model, or a folder without a configuration, weights or a tokenizer.
    """
    if is_toy_model(name):
        return model_folder(name)
    path = Path(name).expanduser()
    if path.is_dir():
        check_folder(path)
        return path
    if path.exists() or name.startswith((".", "/", "~")) or not _HUB_ID.match(name):
        problem = "a file, not a folder. " if path.exists() else f"no such folder. {did_you_mean_path(path)}"
        raise InputError(
            f"model '{name}': {problem}Give a folder made by save_pretrained, a hub id (org/name), or a toy name"
            " (see `repro list`)."
        )
    return name


def revision_of(name: str) -> str:
    """Return the identity of the weights: a content hash for folders; for hub ids the pinned commit, else 'unpinned'."""
    location = locate(name)
    if isinstance(location, str):
        return hub_lock.pinned_revision(location)
    digest = hashlib.sha256()
    for file in sorted(
        p for p in location.iterdir() if p.suffix in {".json", ".safetensors", ".jinja", ".model", ".txt"}
    ):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def load_tokenizer(model: Path | str) -> "PreTrainedTokenizerBase":
    """Load the model's tokenizer. A missing end token is taken from the model, a missing pad token is its end token.

    Text is split as tokenizer.json says. transformers 5 builds the splitting from the class that tokenizer_config.json names,
    which is wrong for some models (LlamaTokenizerFast with the byte-level vocabulary of DeepSeek-R1's distilled models: all
    spaces are lost; huggingface/transformers issue 45488). Where ids differ, the general class reads the file.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    with _one_line_errors(model):
        tokenizer = AutoTokenizer.from_pretrained(str(model), **_source(model))
        if not _reads_as_saved(tokenizer, model):
            general = PreTrainedTokenizerFast.from_pretrained(str(model), **_source(model))
            tokenizer = general if _reads_as_saved(general, model) else tokenizer
    if tokenizer.eos_token_id is None:
        declared = generation_eos_ids(model)
        ends = [declared] if isinstance(declared, int) else declared or []
        names = tokenizer.convert_ids_to_tokens([end for end in ends if 0 <= end < len(tokenizer)])
        tokenizer.eos_token = next((name for name in names if name is not None), None)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _reads_as_saved(tokenizer: "PreTrainedTokenizerBase", model: Path | str) -> bool:
    """Return True if a tokenizer encodes and decodes text as its tokenizer.json does, or has none."""
    if (file := _tokenizer_file(model)) is None:
        return True
    ids, text = _read_probe(file, file.stat().st_mtime_ns)
    return tokenizer(_PROBE, add_special_tokens=False)["input_ids"] == list(ids) and (
        tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    )


@functools.cache
def _read_probe(file: Path, changed: int) -> tuple[tuple[int, ...], str]:
    """Return the ids of the probe by a tokenizer.json alone, and their text."""
    from tokenizers import Tokenizer

    saved = Tokenizer.from_file(str(file))
    ids = saved.encode(_PROBE, add_special_tokens=False).ids
    return tuple(ids), saved.decode(ids, skip_special_tokens=False)


def _tokenizer_file(model: Path | str) -> Path | None:
    """Return the model's tokenizer.json, once its tokenizer is loaded; None if it has none."""
    if os.path.isdir(model):
        file = Path(model) / "tokenizer.json"
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(str(model), "tokenizer.json", revision=hub_revision(model))
    return Path(cached) if isinstance(cached, str) else None


def load_config(model: Path | str) -> "PreTrainedConfig":
    """Load the model's configuration."""
    from transformers import AutoConfig

    with _one_line_errors(model):
        return AutoConfig.from_pretrained(str(model), **_source(model))


def load_model(model: Path | str, *, to_gpu: bool = True, spread: bool = False) -> "PreTrainedModel":
    """Load the causal LM in evaluation mode: float32 on a CPU, bfloat16 if there is a GPU.

    Args:
        to_gpu: False leaves it on the CPU.
        spread: distribute its layers over all visible GPUs, for models that do not fit on one.
    """
    import torch
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    options = {"device_map": "auto"} if spread else {}
    dtype = torch.bfloat16 if cuda else torch.float32
    text = language_model(load_complete(AutoModelForCausalLM, model, dtype=dtype, **options)).eval()
    return text if spread else text.to("cuda" if cuda and to_gpu else "cpu")


def load_for_training(model: Path | str) -> "PreTrainedModel":
    """Load the causal LM in float32, on the CPU: optimisers need the small steps that bfloat16 rounds away."""
    import torch
    from transformers import AutoModelForCausalLM

    return language_model(load_complete(AutoModelForCausalLM, model, dtype=torch.float32))


def load_complete(kind: Any, model: Path | str, **options: Any) -> "PreTrainedModel":
    """Load a model; reject missing weights, which transformers would initialise at random, and unused ones.

    Args:
        kind: transformers' Auto class.

    Raises:
        InputError: it cannot be loaded, or its weights do not match its config.json.
    """
    with phase("loading models"), _one_line_errors(model):
        loaded, notes = kind.from_pretrained(
            str(model),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **_source(model),
            **options,
        )
    for fault, names in (
        ("missing", sorted(notes["missing_keys"])),
        ("of a different shape", sorted(name for name, *_ in notes["mismatched_keys"])),
    ):
        if names:
            raise InputError(
                f"model {model}: weights that its config.json requires are {fault} ({len(names)}, for example"
                f" {names[0]}). Copy or save it again."
            )
    if unused := sorted(notes["unexpected_keys"]):
        raise InputError(
            f"model {model}: its config.json does not use all of its weights ({len(unused)}, for example {unused[0]}), so"
            " it would be another model than the saved one. Save it again, or correct config.json."
        )
    if getattr(loaded, "_hf_peft_config_loaded", False):
        raise InputError(f"model {model}: holds an adapter beside its weights. Merge it, or name a model without one.")
    make_savable(loaded)
    loaded.config.return_dict = True  # a config file can request tuple outputs, which no caller here supports
    return loaded


def check_loadable(folder: Path, kind: Any = None) -> None:
    """Check that a model and its tokenizer can be loaded from a folder, without reading its weights.

    Args:
        kind: transformers' Auto class; None for a causal LM.

    Raises:
        InputError: as when loading.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        load_tokenizer(folder)
        load_complete(kind or AutoModelForCausalLM, folder, device_map="meta")
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _one_line_errors(model: Path | str) -> Iterator[None]:
    """Turn transformers' errors about a model into a one-line InputError; disk and memory errors pass through."""
    try:
        yield
    except (MemoryError, RuntimeError):
        raise
    except Exception as error:  # many types are possible; the Rust tokenizers raise bare exceptions
        if isinstance(error, OSError) and error.errno is not None:
            raise
        refusal = None if isinstance(model, Path) else refusal_behind(error, str(model), "models")
        if refusal:
            raise InputError(f"model {model}: {refusal}") from error
        message = " ".join(str(error).split())
        reason = re.split(r"(?<=[.!?]) ", message)[0][:300] or type(error).__name__
        raise InputError(f"model {model}: cannot be loaded: {reason}") from error


def language_model(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the language model of a multimodal checkpoint (Gemma-3 from 4B up); any other model unchanged.

    No prompt here has images: the vision tower would only take memory and get adapters that never learn.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if model.config.model_type != "gemma3":
        return model
    config = model.config.get_text_config()
    with torch.device("meta"):
        text = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    text.model, text.lm_head = model.model.language_model, model.lm_head
    text.generation_config = model.generation_config
    text.name_or_path = text.config._name_or_path = model.name_or_path
    return text


def generation_eos_ids(model: Path | str) -> int | list[int] | None:
    """Return the end token ids of the model's generation config, or of its config.json if it has none.

    None if neither names any; the tokenizer's end token is then used.
    """
    config = load_generation_config(model)
    return load_config(model).get_text_config().eos_token_id if config is None else config.eos_token_id


def load_generation_config(model: Path | str) -> "GenerationConfig | None":
    """Load the model's generation config; None if it has none."""
    from transformers import GenerationConfig

    with _one_line_errors(model):
        try:
            return GenerationConfig.from_pretrained(str(model), revision=hub_revision(model))
        except OSError:
            return None


def _source(model: Path | str) -> dict[str, Any]:
    """Return the arguments of every load: the commit, and no remote code (transformers would prompt for it)."""
    return {"revision": hub_revision(model), "trust_remote_code": False}


def hub_revision(model: Path | str) -> str:
    """Return the commit to load: the pinned one, or main."""
    if isinstance(model, Path) or os.path.isdir(model):
        return "main"
    pinned = hub_lock.pinned_revision(model)
    return "main" if pinned == hub_lock.UNPINNED else pinned
