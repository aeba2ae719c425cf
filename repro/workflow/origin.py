"""Trace what made a file: the stage or study, its settings, command and inputs, read from records."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.recipes.settings import flatten
from repro.report.panel import PANEL_FILE
from repro.report.rerun import rerun_command
from repro.report.result import RESULTS_FILE, read_result
from repro.stages.artifact import CACHE, RECORD
from repro.stages.readable_label import describe_record


@dataclass(frozen=True)
class Origin:
    """What made a file.

    Attributes:
        maker: description of the stage or study.
        folder: folder of the artifact or result.
        is_unchanged: the file matches its recorded hash; None if no record has its hash.
        settings: flat name -> value; for a study, only those that were set.
        inputs: (depth, label, folder) of everything it was made from, each listed after what it went into.
    """

    file: Path
    maker: str
    folder: Path
    is_unchanged: bool | None
    command: str
    made: str
    code: str
    settings: dict[str, Any]
    inputs: tuple[tuple[int, str, str], ...]


def find_origin(file: Path, out: Path) -> Origin:
    """Return what made a file or folder.

    Args:
        file: below an artifact's or result's folder, or a copy of an artifact's file anywhere.
        out: results folder; a copied file is looked up by hash in its records.

    Raises:
        InputError: no such file, or no record of it.
    """
    path = file.resolve()
    if not path.exists():
        raise InputError(f"{file}: no such file.")
    for folder in (path, *path.parents):
        if (folder / RECORD).is_file():
            return _of_artifact(path, folder)
        if (folder / RESULTS_FILE).is_file():
            return _of_result(path, folder)
        if (folder / PANEL_FILE).is_file():
            return _of_panel(path, folder)
    if path.is_file() and (found := _find_by_hash(_hash(path), out / CACHE)):
        return _of_artifact(found, next(f for f in found.parents if (f / RECORD).is_file()))
    raise InputError(
        f"{file}: not inside an artifact or result, and no artifact in {out} has a file with this content. Name another folder of results with --out."
    )


def _of_artifact(path: Path, folder: Path) -> Origin:
    record = _read_record(folder)
    name = str(path.relative_to(folder))
    fact = record["files"].get(name) if path.is_file() else None
    return Origin(
        file=path,
        maker=f"{describe_record(record, folder.parent)} (seed {record['config'].get('seed')}; {record['stage']})",
        folder=folder,
        is_unchanged=None if fact is None else _hash(path) == fact["sha256"],
        command=_command(record),
        made=f"{record['ended']}, in {record['seconds']:g} s on {record['hardware']['cpus']} cores"
        + (f", {', '.join(record['gpus'])}" if record["gpus"] else ""),
        code=_describe_code(record["code"], record["libraries"]),
        settings=_own_settings(record["config"]),
        inputs=tuple(_inputs_of(record, folder.parent, 0, set())),
    )


def _of_result(path: Path, folder: Path) -> Origin:
    content = read_result(folder)
    cache = folder.parent / CACHE
    inputs = []
    measured = {row["artifact"] for row in content["rows"]}
    for line in content["stages"]:
        if line["artifact"] in measured:
            inputs.append((0, line["label"], line["artifact"]))
            if (cache / line["artifact"] / RECORD).is_file():
                inputs += _inputs_of(_read_record(cache / line["artifact"]), cache, 1, set())
    return Origin(
        file=path,
        maker=f"study {content['study']} at scale {content['scale']}, families {', '.join(content['families'])}",
        folder=folder,
        is_unchanged=None,
        command=rerun_command(content),
        made=content["made"],
        code=_describe_code(content["code"], content["libraries"]),
        settings=dict(text.split("=", 1) for text in content["assignments"]),
        inputs=tuple(inputs),
    )


def _of_panel(path: Path, folder: Path) -> Origin:
    """Return the origin of a panel's artifact."""
    try:
        name = str(json.loads((folder / PANEL_FILE).read_text())["artifact"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder / PANEL_FILE}: damaged. Run `repro traps` again; cached stages are kept.") from None
    artifact = folder.parent / CACHE / name
    if not (artifact / RECORD).is_file():
        raise InputError(f"{path}: made from {name}, which is not in {folder.parent / CACHE}.")
    return replace(_of_artifact(artifact, artifact), file=path)


def _describe_code(code: Mapping[str, Any], libraries: Mapping[str, str]) -> str:
    commit = (code["commit"] or "unknown")[:12]
    changed = " with local changes" if code["dirty"] else ""
    return f"commit {commit}{changed}, torch {libraries.get('torch')}, transformers {libraries.get('transformers')}"


def _inputs_of(record: dict[str, Any], cache: Path, depth: int, seen: set[str]) -> list[tuple[int, str, str]]:
    inputs: list[tuple[int, str, str]] = []
    for name in record["inputs"]:
        folder = cache / name
        if not (folder / RECORD).is_file():
            inputs.append((depth, "no longer in the cache", name))
            continue
        needed = _read_record(folder)
        inputs.append((depth, describe_record(needed, cache), name))
        if name not in seen:
            seen.add(name)
            inputs += _inputs_of(needed, cache, depth + 1, seen)
    inputs += [(depth, f"{role}: {text}", "") for role, text in _outside(record["config"])]
    return inputs


def _outside(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the external models and rows that a stage reads directly, by field name."""
    inputs = []
    for role, value in config.items():
        if isinstance(value, dict) and value.get("kind") in ("base", "served"):
            inputs.append((role, f"{value['name']} ({str(value.get('revision', 'revision unknown'))[:19]})"))
    for part in config.get("data") or ():
        source = part.get("file") or part.get("revision") or "made by the package"
        inputs.append(("data", f"{part['task']}, {part['split']}, {part['n'] or 'all'} items ({source})"))
    return inputs


def _own_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the stage's own settings, without its inputs'."""
    return {name: value for part in ("config", "prefixes") for name, value in flatten(config.get(part) or {}).items()}


def _command(record: dict[str, Any]) -> str:
    argv = list(record.get("argv", ()))
    return shlex.join(["repro", *argv[1:]]) if argv else "unknown"


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        keys = (
            "label",
            "stage",
            "config",
            "files",
            "inputs",
            "code",
            "libraries",
            "hardware",
            "gpus",
            "seconds",
            "ended",
        )
        for key in keys:
            record[key]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder / RECORD}: damaged. Run again: it is set aside and computed again.") from None
    return record


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _find_by_hash(sha256: str, cache: Path) -> Path | None:
    """Return an artifact's file with this content, or None."""
    for file in sorted(cache.glob(f"[a-z]*-*/{RECORD}")):
        try:
            facts = json.loads(file.read_text())["files"]
            name = next((name for name, fact in facts.items() if fact["sha256"] == sha256), None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if name is not None:
            return file.parent / name
    return None
