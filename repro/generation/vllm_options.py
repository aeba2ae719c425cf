"""Arguments of every vLLM engine in the kit: pinned revision, text only, and names that let compiled code be reused.

vLLM caches compiled code under a hash of the model's path and the maximum length, although neither changes the code.
Every trained model has its own folder, so every stage would recompile (about a minute on a GPU).
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from repro.models.loading import hub_revision, load_config

LENGTH_STEP = 1024
"""Maximum lengths are rounded up to a multiple of this, because the longest prompt differs from stage to stage."""
_NOT_ARCHITECTURE = ("_name_or_path", "dtype", "torch_dtype", "transformers_version")


def engine_length(model: Path | str, length: int) -> int:
    """Return a maximum length for vLLM: `length` rounded up, but at most the model's context length.

    Args:
        length: prompt plus completion, tokens.
    """
    positions = getattr(load_config(model).get_text_config(), "max_position_embeddings", None) or length
    return max(length, min(-(-length // LENGTH_STEP) * LENGTH_STEP, positions))


def source_options(model: Path | str) -> dict[str, Any]:
    """Return vLLM's arguments for the model's source and the part to load: only the language model."""
    revision = hub_revision(model)
    options: dict[str, Any] = {"revision": revision, "tokenizer_revision": revision}
    if _has_towers(model) and "language_model_only" in _known_options():
        options["language_model_only"] = True  # no images here: the vision tower would cost memory and start-up time
    return options


def _has_towers(model: Path | str) -> bool:
    config = load_config(model)
    return config.get_text_config() is not config


def _known_options() -> set[str]:
    """Return the names of vLLM's engine arguments; older versions lack a few."""
    from vllm import EngineArgs

    return set(EngineArgs.__dataclass_fields__)


@contextlib.contextmanager
def compiled_name(model: Path | str) -> Iterator[str]:
    """Yield the model's name for vLLM: for a folder, a symlink that models of the same architecture use in turn.

    The name is in use until the context is left or the process ends. If links cannot be created, the folder itself is
    yielded, and vLLM recompiles.
    """
    if not os.path.isdir(model):
        yield str(model)  # a hub id, which is the same in every stage
        return
    try:
        link, descriptor = _claim(Path(model).resolve(), _links_folder() / _architecture_hash(Path(model)))
    except OSError:
        yield str(model)
        return
    try:
        yield str(link)
    finally:
        os.close(descriptor)


def _links_folder() -> Path:
    """Return a folder next to vLLM's compile cache: links and cached code are useful only together."""
    root = os.environ.get("VLLM_CACHE_ROOT") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vllm"
    return Path(root).expanduser() / "repro-models"


def _architecture_hash(folder: Path) -> str:
    """Return a hash of the configuration, ignoring entries that differ between training runs of one model."""
    config = json.loads((folder / "config.json").read_text())
    relevant = {name: value for name, value in config.items() if name not in _NOT_ARCHITECTURE}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]


def _claim(target: Path, base: Path) -> tuple[Path, int]:
    """Point a link at the target: the first link that no live process uses for another model.

    Returns:
        The link, and an open file whose shared lock marks it as in use.
    """
    base.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(base / "claims.lock"):
        for number in itertools.count():
            link = base / f"model-{number}"
            descriptor = os.open(base / f"model-{number}.users", os.O_RDWR | os.O_CREAT, 0o600)
            if _lock(descriptor, fcntl.LOCK_EX):
                link.unlink(missing_ok=True)
                link.symlink_to(target)
            if link.resolve() == target and _lock(descriptor, fcntl.LOCK_SH):
                return link, descriptor
            os.close(descriptor)
    raise AssertionError("unreachable")


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
