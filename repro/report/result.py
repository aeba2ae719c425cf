"""results.json: its shape, and reading it with errors that name file and key."""

import json
from pathlib import Path
from typing import Any

import pydantic
from typing_extensions import TypedDict

from repro.errors import InputError
from repro.tables import MeasuredTable

RESULTS = "results.json"


class Completion(TypedDict):
    """One model's completion of an example's prompt. score in 0..1; stop: "eos" or "length"."""

    model: str
    text: str
    score: float
    stop: str


class Example(TypedDict):
    """Completions of one prompt side by side. key: the right answer, None for an open-ended prompt."""

    family: str
    task: str
    item_id: str
    prompt: str
    key: str | None
    completions: list[Completion]


class Curve(TypedDict):
    """What one training logged. steps: optimiser steps (last of each averaged bin); figures: name -> one mean per bin."""

    family: str
    method: str
    seed: int
    stage: str
    steps: list[int]
    figures: dict[str, list[float | None]]


class StageLine(TypedDict):
    """What one stage cost. seconds of wall clock; kind: the line of Table 5 that it is like, or its stage."""

    artifact: str
    stage: str
    kind: str
    label: str
    seconds: float
    gpu_hours: float
    peak_memory_gib: float
    started: str
    ended: str
    summary: dict[str, Any]


class Result(TypedDict):
    """One run of one study: everything that the page shows, so that it needs no other file.

    Attributes:
        assignments: the `--set key=value` wishes.
        verdicts: of the run itself; a page judges again and shows what differs.
        stored_files: name -> sha256 of the stored tables, claims and margins that the run was judged against.
    """

    study: str
    scale: str
    families: list[str]
    tasks: list[str]
    seeds: list[int]
    made: str
    settings: dict[str, Any]
    assignments: list[str]
    code: dict[str, Any]
    libraries: dict[str, str]
    hardware: dict[str, Any]
    stored_files: dict[str, str]
    verdicts: dict[str, Any]
    measured: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    stages: list[StageLine]
    examples: list[Example]
    curves: list[Curve]


_SHAPE = pydantic.TypeAdapter(Result)


def read_result(result: Path) -> Result:
    """The content of a result's results.json (the file, or the folder that holds it).

    Raises:
        InputError: there is none, or it is not whole; names the file and the first key that is wrong.
    """
    file = result if result.is_file() else result / RESULTS
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{result}: no {RESULTS} there. Give the folder of a study's result.") from None
    except ValueError as cause:
        raise InputError(f"{file}: not a whole {RESULTS} ({cause}). {_MEND}") from None
    try:
        return _SHAPE.validate_python(content)
    except pydantic.ValidationError as cause:
        first = cause.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(file)"
        raise InputError(f"{file}: not a whole {RESULTS}: key {key}: {first['msg']}. {_MEND}") from None


def measured_tables(content: Result) -> list[MeasuredTable]:
    """The measured tables, one per family, with every check of their numbers."""
    return [MeasuredTable.from_dict(table) for table in content["measured"]]


_MEND = "Run the study again; cached stages are kept."
