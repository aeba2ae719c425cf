"""Verify stored artifacts without a model: hashes, the identity behind a name, grades and summaries."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from repro.errors import InputError
from repro.evaluation.evaluate import summarise
from repro.evaluation.graded import Graded, read_graded, read_outcomes
from repro.stages.artifact import RECORD, ROLLOUTS
from repro.tasks import registry
from repro.tasks.grading import RULES, grade

_CLOSE = 1e-9
"""Relative difference up to which numbers count as equal: the same values summed in another order."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. note: it could not be verified, or differs for a harmless reason."""

    status: Literal["ok", "note", "bad"]
    subject: str
    message: str


@dataclass
class Counts:
    """Totals: files and bytes hashed, completions regraded, and completions that only a model could score."""

    files: int = 0
    bytes: int = 0
    graded: int = 0
    scored: int = 0


def verify_artifact(folder: Path, record_sha256: str | None, counts: Counts) -> Iterator[Finding]:
    """Yield what is wrong with an artifact and what could not be verified.

    Every file is read and hashed, regardless of remembered hashes.

    Args:
        record_sha256: the hash of its record stored in the result; None for older results or without a result.
    """
    name = folder.name
    try:
        text = (folder / RECORD).read_bytes()
        record = json.loads(text)
        facts, fingerprint = dict(record["files"]), record["fingerprint"]
        identity = {"does": record["stage"], "version": record["version"], **record["identity"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Finding("bad", name, f"{RECORD} cannot be read ({type(error).__name__})")
        return
    if record_sha256 is not None and hashlib.sha256(text).hexdigest() != record_sha256:
        yield Finding("bad", name, f"{RECORD} differs from the one that the result was made from")
    if hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest() != fingerprint:
        yield Finding("bad", name, "its settings do not match its fingerprint")
    if name != f"{record['stage']}-{fingerprint[:16]}":
        yield Finding("bad", name, f"the folder's name does not match its fingerprint {fingerprint[:16]}")
    damage = list(_damaged_files(folder, facts, counts))
    yield from (Finding("bad", name, text) for text in damage)
    if record["stage"] in ("evaluate", "grade") and not any(ROLLOUTS in text for text in damage):
        yield from _verify_grades(folder, record, counts)


def _damaged_files(folder: Path, facts: dict[str, Any], counts: Counts) -> Iterator[str]:
    present = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {RECORD}
    for name in sorted({*facts, *present}):
        if name not in present:
            yield f"{name} is missing"
        elif name not in facts:
            yield f"{name} is not listed in {RECORD}"
        else:
            with (folder / name).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            counts.files += 1
            counts.bytes += (folder / name).stat().st_size
            if digest != facts[name]["sha256"]:
                yield f"{name} has changed since it was written"


def _verify_grades(folder: Path, record: dict[str, Any], counts: Counts) -> Iterator[Finding]:
    """Regrade every stored completion, and recompute the summary of the stored grades."""
    file = folder / ROLLOUTS
    try:
        differing = _differing_grades(file, counts)
        summary = summarise(read_outcomes(file))
        stored = json.loads((folder / "summary.json").read_text())
    except (InputError, OSError, ValueError, KeyError, TypeError) as error:
        yield Finding("bad", folder.name, f"its completions or summary cannot be read ({error})")
        return
    if differing:
        rules = (record.get("grading") or {}).get("rules")
        text = f"{len(differing)} completions have a stored grade that their text does not give, for example {differing[0]}"
        is_same = rules == RULES
        yield Finding("bad" if is_same else "note", folder.name, text if is_same else f"{text} (graded by other rules)")
    for task, values in summary.items():
        for key, value in values.items():
            before = stored.get(task, {}).get(key, value if key == "undecided" else None)
            if before is None or not is_close(value, before):
                yield Finding("bad", folder.name, f"summary.json has {key} {before} of {task}, its completions {value}")


def _differing_grades(file: Path, counts: Counts) -> list[str]:
    """Return the completions whose stored grade does not match their text.

    Whether a prompt ends within a thought is not stored: both readings are tried, and one must fit all completions.
    """
    has_flag = "undecided" in pq.read_schema(file).names
    readings: dict[bool, list[str]] = {False: [], True: []}
    for completion in read_graded(file):
        kind = registry.kind_of(completion.rollout.task)
        if kind == "open":
            counts.scored += 1
            continue
        counts.graded += 1
        for opens_in_thought, differing in readings.items():
            if not _has_its_grade(completion, kind, has_flag=has_flag, opens_in_thought=opens_in_thought):
                rollout = completion.rollout
                differing.append(f"sample {rollout.sample} of {rollout.item_id}")
    return min(readings.values(), key=len)


def _has_its_grade(completion: Graded, kind: Any, *, has_flag: bool, opens_in_thought: bool) -> bool:
    rollout = completion.rollout
    again = grade(kind, rollout.text, completion.key, rollout.prompt, opens_in_thought=opens_in_thought)
    return (
        again.answer == completion.answer
        and float(again.correct) == completion.score
        and (not has_flag or again.is_undecided == completion.undecided)
    )


def is_close(first: Any, second: Any) -> bool:
    """Return True for values equal up to summation order, including nested lists and dictionaries."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(is_close(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(is_close, first, second))
    if isinstance(first, float) or isinstance(second, float):
        if not isinstance(first, int | float) or not isinstance(second, int | float):
            return False
        return first == second or abs(first - second) <= _CLOSE * max(abs(first), abs(second), 1.0)
    return bool(first == second)
