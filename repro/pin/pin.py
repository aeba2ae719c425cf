"""Look up every name, write the pins into the locks, and apply them to the Dockerfile and the workflows."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.pin import names
from repro.pin.lookup import Addresses, PinError, action_commit, hub_revision, image_digest
from repro.system import hub_lock as hub_lock
from repro.system.atomic_write import atomic_write

ROOT = Path(__file__).resolve().parents[2]
LOCK_NAME = "pins.json"
KINDS = ("images", "actions", "hub")
Lookup = Callable[[str], str]


@dataclass
class PinResult:
    """Result of `pin`. unpinned: a line per name without a pin, with the reason."""

    pins: dict[str, str] = field(default_factory=dict)
    unpinned: list[str] = field(default_factory=list)


def pin(
    kinds: tuple[str, ...], root: Path = ROOT, hub_file: Path = hub_lock.LOCK, addresses: Addresses | None = None
) -> PinResult:
    """Look up the names of these kinds. Pins that were found are written even if other lookups failed.

    Raises:
        InputError: not a checkout, or its files cannot be written.
    """
    _check_checkout(root)
    at = addresses or Addresses()
    result = PinResult()
    lock = read_lock(root)
    if "images" in kinds:
        pins = _look_up(names.images(root), lambda image: image_digest(image, at), result)
        lock["images"] = _still_used(lock["images"], names.images(root)) | pins
    if "actions" in kinds:
        pins = _look_up(names.actions(root), lambda action: action_commit(action, at), result)
        lock["actions"] = _still_used(lock["actions"], names.actions(root)) | pins
    try:
        if "hub" in kinds:
            wanted = names.hub_names()
            on_github = [name for name, kind in wanted.items() if kind == "github"]
            on_hub = [name for name in wanted if name not in on_github]
            pins = _look_up(on_hub, lambda name: hub_revision(name, wanted[name], at), result)
            pins |= _look_up(on_github, lambda name: action_commit(f"{name}@main", at), result)
            _write(hub_file, _json(json.loads(hub_file.read_text()) | pins))
        if set(kinds) & {"images", "actions"}:
            _write(root / LOCK_NAME, _json(lock))
            apply(root)
    except OSError as error:
        raise InputError(
            f"{error.filename}: {error.strerror}. Run `repro pin` in a checkout that you can write to."
        ) from None
    return result


def apply(root: Path) -> None:
    """Write the locked digests and commits, followed by their tags, into the Dockerfile and the workflows."""
    lock = read_lock(root)

    def image(line: re.Match[str]) -> str:
        digest = lock["images"].get(line["image"]) or line["digest"]
        return f"{line['head']}{line['image']}" + (f"@{digest}" if digest else "")

    def action(line: re.Match[str]) -> str:
        tag = names.tag_of(line)
        commit = lock["actions"].get(f"{line['action']}@{tag}")
        return f"{line['head']}{line['action']}@{commit} # {tag}" if commit else line[0]

    for file, pattern, replace in [
        (root / "Dockerfile", names.IMAGE_LINE, image),
        *((file, names.ACTION_LINE, action) for file in names.workflows(root)),
    ]:
        before = file.read_text()
        after = pattern.sub(replace, before)
        if after != before:
            _write(file, after)


def find_unpinned(root: Path = ROOT, hub_file: Path = hub_lock.LOCK) -> list[str]:
    """Return every name without a pin in a lock; no network access.

    Raises:
        InputError: not a checkout.
    """
    _check_checkout(root)
    lock, hub = read_lock(root), json.loads(hub_file.read_text())
    return [
        *(name for name in names.images(root) if name not in lock["images"]),
        *(name for name in names.actions(root) if name not in lock["actions"]),
        *(name for name in names.hub_names() if name not in hub),
    ]


def read_lock(root: Path) -> dict[str, dict[str, str]]:
    """Read the image digests and action commits.

    Raises:
        InputError: the lock is not readable.
    """
    file = root / LOCK_NAME
    try:
        content = json.loads(file.read_text()) if file.exists() else {}
        return {kind: dict(content.get(kind, {})) for kind in ("images", "actions")}
    except (OSError, ValueError, AttributeError, TypeError):
        raise InputError(f"{file}: not a lock file. Restore it from git, then run `repro pin`.") from None


def _look_up(wanted: list[str], lookup: Lookup, result: PinResult) -> dict[str, str]:
    """Look up names; a host that does not answer is reported once and not tried again."""
    pins: dict[str, str] = {}
    for number, name in enumerate(wanted):
        try:
            pins[name] = lookup(name)
        except PinError as fault:
            rest = wanted[number:] if fault.host else [name]
            result.unpinned.append(f"{fault}: {', '.join(rest)}" if fault.host else str(fault))
            if fault.host:
                break
    result.pins |= pins
    return pins


def _still_used(before: dict[str, str], wanted: list[str]) -> dict[str, str]:
    """Return the existing pins of names still in use, so that a failed lookup loses none."""
    return {name: pin for name, pin in before.items() if name in wanted}


def _check_checkout(root: Path) -> None:
    if not (root / "Dockerfile").is_file():
        raise InputError(f"{root}: no Dockerfile. `repro pin` works in a checkout (git clone, pip install -e .).")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _write(file: Path, text: str) -> None:
    with atomic_write(file) as temporary:
        temporary.write_text(text)
