"""Contents of a results folder: results, artifacts, what refers to them, and what is no longer needed."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import filelock
import psutil

from repro.errors import InputError
from repro.report.panel import PANEL_FILE
from repro.report.result import RESULTS_FILE, read_result
from repro.stages.artifact import CACHE, RECORD
from repro.stages.readable_label import describe_record, distinguishing_settings
from repro.system.input_errors import did_you_mean_path
from repro.tables.statistics.decision import VERDICT_VALUES

ONE_STAGE_COMMANDS = ("calibrate", "sample", "distill", "evaluate", "traps")
"""Commands whose artifact is itself the output, so it counts as used without a result that refers to it."""


@dataclass(frozen=True)
class ResultEntry:
    """A study's result. bytes: folder size; assignments: the user's `--set`; counts: verdict -> claims and controls."""

    folder: Path
    study: str
    scale: str
    made: str
    seeds: tuple[int, ...]
    families: tuple[str, ...]
    assignments: tuple[str, ...]
    counts: dict[str, int]
    bytes: int
    artifacts: frozenset[str]


@dataclass(frozen=True)
class ArtifactEntry:
    """An artifact.

    Attributes:
        record: None if damaged.
        users: what refers to it (results, panels, commands, artifacts).
        label: the model it is or measures, with eta, method and training seeds (`repro.stages.readable_label`).
        seed: its own seed; None if damaged.
        scores: for an evaluation, task -> (metric, mean).
    """

    folder: Path
    record: dict[str, Any] | None
    bytes: int
    users: tuple[str, ...]
    label: str = "damaged"
    seed: int | None = None
    scores: dict[str, tuple[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Leftover:
    """Something that can be removed. reason: unused (nothing refers to it), or partial (left by a killed run)."""

    path: Path
    reason: Literal["unused", "partial"]
    label: str
    bytes: int


def list_results(out: Path) -> list[ResultEntry]:
    """Return the studies' results below `out`, oldest first, skipping damaged ones.

    Raises:
        InputError: no such folder.
    """
    if not out.is_dir():
        raise InputError(f"{out}: no such folder. {did_you_mean_path(out)}Name the folder of results with --out.")
    entries = []
    for file in out.glob(f"*/{RESULTS_FILE}"):
        with contextlib.suppress(InputError):
            entries.append(_entry_of(file.parent))
    return sorted(entries, key=lambda entry: entry.made)


def list_artifacts(out: Path) -> list[ArtifactEntry]:
    """Return the artifacts below `out`, oldest first, with what refers to each."""
    records = {folder: _read_record(folder) for folder in _artifact_folders(out)}
    users: dict[str, list[str]] = {folder.name: [] for folder in records}
    for user, names in _references(out):
        for name in names:
            users.setdefault(name, []).append(user)
    for folder, record in records.items():
        if record is None:
            continue
        command = list(record.get("argv", ()))[1:2]
        if command and command[0] in ONE_STAGE_COMMANDS and record["stage"] == _product_of(command[0]):
            users[folder.name].append(f"repro {command[0]}")
        for name in record["inputs"]:
            users.setdefault(name, []).append(folder.name)
    entries = []
    for folder, record in records.items():
        entry = ArtifactEntry(folder, record, folder_bytes(folder), tuple(users[folder.name]))
        if record is not None:
            label, seed = describe_record(record, out / CACHE), (record.get("config") or {}).get("seed")
            entry = replace(entry, label=label, seed=seed, scores=_scores_of(folder, record))
        entries.append(entry)
    configs = [(entry.record or {}).get("config") or {} for entry in entries]
    labels = [f"{entry.label} {entry.seed}" for entry in entries]
    texts = distinguishing_settings(labels, configs, [out / CACHE] * len(entries))
    entries = [replace(entry, label=f"{entry.label}{text}") for entry, text in zip(entries, texts)]
    return sorted(entries, key=lambda entry: (entry.record or {}).get("ended", ""))


def find_leftovers(out: Path) -> list[Leftover]:
    """Return unreferenced artifacts and the torsos of killed runs, but nothing that belongs to a running stage.

    An artifact is used if a result, a panel or a one-stage command refers to it, or if a used artifact was made from
    it. If any result or panel is unreadable, every artifact counts as used.
    """
    artifacts = {entry.folder.name: entry for entry in list_artifacts(out)}
    used = {name for name, entry in artifacts.items() if any(user not in artifacts for user in entry.users)}
    queue = list(used)
    while queue:
        record = artifacts[queue.pop()].record
        for name in (record or {}).get("inputs", ()):
            if name in artifacts and name not in used:
                used.add(name)
                queue.append(name)
    leftovers = []
    if not _has_unreadable(out):
        for name, entry in artifacts.items():
            if name not in used and entry.record is not None and not _is_locked(out / CACHE, name):
                leftovers.append(Leftover(entry.folder, "unused", entry.label, entry.bytes))
    return leftovers + list(_torsos(out / CACHE))


def remove(leftover: Leftover) -> None:
    """Remove a leftover and its remembered hashes."""
    if leftover.path.is_dir():
        shutil.rmtree(leftover.path)
    else:
        leftover.path.unlink(missing_ok=True)
    if leftover.reason == "unused":
        for folder, suffix in ((".verified", "json"), (".logs", "log"), (".locks", "lock")):
            (leftover.path.parent / folder / f"{leftover.path.name}.{suffix}").unlink(missing_ok=True)


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _entry_of(folder: Path) -> ResultEntry:
    content = read_result(folder)
    values = [claim["value"] for claim in content["verdicts"]["claims"]]
    return ResultEntry(
        folder=folder,
        study=content["study"],
        scale=content["scale"],
        made=content["made"],
        seeds=tuple(content["seeds"]),
        families=tuple(content["families"]),
        assignments=tuple(content["assignments"]),
        counts={value: values.count(value) for value in VERDICT_VALUES if value in values},
        bytes=folder_bytes(folder),
        artifacts=frozenset(line["artifact"] for line in content["stages"]),
    )


def _artifact_folders(out: Path) -> list[Path]:
    return sorted(folder for folder in (out / CACHE).glob("[a-z]*-*") if (folder / RECORD).is_file())


def _references(out: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each result and panel with the artifacts it was made from."""
    for entry in list_results(out):
        yield entry.folder.name, entry.artifacts
    for file in out.glob(f"*/{PANEL_FILE}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            yield file.parent.name, frozenset({json.loads(file.read_text())["artifact"]})


def _has_unreadable(out: Path) -> bool:
    """Return True if the artifacts of some result or panel are unknown."""
    files = [file for name in (RESULTS_FILE, PANEL_FILE) for file in out.glob(f"*/{name}")]
    return len(list(_references(out))) < len(files)


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        record["stage"], record["label"], list(record["inputs"]), record["ended"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record


def _scores_of(folder: Path, record: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """Return task -> (metric, mean) of an evaluation; empty for other artifacts and damaged summaries."""
    if record["stage"] != "evaluate":
        return {}
    try:
        summary = json.loads((folder / "summary.json").read_text())
        facts = {task: of_task for task, of_task in summary.items() if "completions_per_item" in of_task}
        metrics = {task: "acc" if "acc" in of_task else "reward" for task, of_task in facts.items()}
        return {task: (metric, float(facts[task][metric])) for task, metric in metrics.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _product_of(command: str) -> str:
    """Return the kind of stage that the command produces."""
    return "diagnose" if command == "traps" else command


def _torsos(cache: Path) -> Iterator[Leftover]:
    """Yield half-built artifacts, and the scratch of stages that are not running, from which a run would resume."""
    for folder in (cache / ".building").glob("*"):
        name, _, pid = folder.name.rpartition(".")
        if not (pid.isdecimal() and psutil.pid_exists(int(pid))) and not _is_locked(cache, name):
            yield Leftover(folder, "partial", f"half-built {name}", folder_bytes(folder))
    for path in (cache / ".work").glob("*"):
        name = path.name.removesuffix(".progress.json")
        if not _is_locked(cache, name):
            size = folder_bytes(path) if path.is_dir() else path.stat().st_size
            yield Leftover(path, "partial", f"unfinished work of {name}, from which a run would resume", size)


def _is_locked(cache: Path, name: str) -> bool:
    """Return True if a running process holds the artifact's lock."""
    file = cache / ".locks" / f"{name}.lock"
    if not file.exists():
        return False
    try:
        with filelock.FileLock(file, timeout=0):
            return False
    except (filelock.Timeout, OSError):
        return True
