"""Arguments that every vLLM engine here gets: the pinned revision, text only, and names under which compiled code is found again.

vLLM keeps what it compiles under a hash of the model's path and of the maximum length, although neither changes the code.
Trained models are folders of their own, so that every stage would compile anew (about a minute on a GPU).
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
"""Maximum lengths are rounded up to a multiple of it: the longest prompt differs from stage to stage."""
_NOT_ARCHITECTURE = ("_name_or_path", "dtype", "torch_dtype", "transformers_version")


def engine_length(model: Path | str, length: int) -> int:
    """Return a maximum length for vLLM: `length` rounded up, but not beyond the model's positions, which vLLM refuses.

    Args:
        length: prompt plus completion, tokens.
    """
    positions = getattr(load_config(model).get_text_config(), "max_position_embeddings", None) or length
    return max(length, min(-(-length // LENGTH_STEP) * LENGTH_STEP, positions))


def source_options(model: Path | str) -> dict[str, Any]:
    """Return vLLM's arguments on where the model comes from and which part of it is loaded: the language model."""
    revision = hub_revision(model)
    options: dict[str, Any] = {"revision": revision, "tokenizer_revision": revision}
    if _has_towers(model) and "language_model_only" in _known_options():
        options["language_model_only"] = True  # no prompt here has images: their tower takes memory and start-up time
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
    """Yield a name of the model for vLLM: for a folder a link that models of the same architecture share in turn.

    A name is in use until the context is left or the process ends. Where links cannot be made, the folder's own name is
    yielded: vLLM then compiles.
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
    """Return a folder next to vLLM's compiled code: links and code are of use only together."""
    root = os.environ.get("VLLM_CACHE_ROOT") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vllm"
    return Path(root).expanduser() / "repro-models"


def _architecture_hash(folder: Path) -> str:
    """Return a hash of the configuration without what differs between two trainings of one model."""
    config = json.loads((folder / "config.json").read_text())
    relevant = {name: value for name, value in config.items() if name not in _NOT_ARCHITECTURE}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]


def _claim(target: Path, base: Path) -> tuple[Path, int]:
    """Point a link at the target, the first that no live process needs for another model.

    Returns:
        The link, and an open file whose shared lock says that it is in use.
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
