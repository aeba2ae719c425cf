"""results.json: its shape, and a reader whose errors name file and key."""

import json
from pathlib import Path
from typing import Any, Literal, NotRequired, cast

import pydantic
from pydantic import FiniteFloat
from typing_extensions import TypedDict

from repro.errors import InputError
from repro.printed.claims import Claim
from repro.report.style_line import StyleLine
from repro.stages.artifact import RECORD
from repro.system.input_errors import describe_problem, did_you_mean_path
from repro.tables import MeasuredTable
from repro.tables.measurements.costs import Costs
from repro.tasks import registry

RESULTS_FILE = "results.json"
FORMAT = 1
"""Format of results.json. Bumped when a reader of the previous format would misread the file."""
RUN_AGAIN = "Run the study again; cached stages are kept."


class Code(TypedDict):
    """Commit that made a result, and whether it had local changes; nulls if it did not run from a checkout."""

    commit: str | None
    dirty: bool | None


class Gpu(TypedDict):
    """One GPU."""

    name: str


class Hardware(TypedDict):
    """The machine that wrote a result."""

    machine: str
    system: str
    cpus: int
    memory_gib: FiniteFloat
    gpus: list[Gpu]


class ClaimVerdict(TypedDict):
    """The fields of `repro.tables.verdicts.verdict_types.ClaimVerdict` that a page reads."""

    claim: str
    family: str
    value: str
    margin: FiniteFloat


class Verdicts(TypedDict):
    """The verdicts that a run wrote."""

    claims: list[ClaimVerdict]


class RowLine(TypedDict):
    """One measured row, and its artifact. eta, of, guard, plugin: see `repro.recipes.study.Row`; absent where it has none.

    Results of older code have no guards in their rows.
    """

    family: str
    method: str
    seed: int
    artifact: str
    eta: NotRequired[FiniteFloat]
    of: NotRequired[str]
    guard: NotRequired[str]
    plugin: NotRequired[str]


class Completion(TypedDict):
    """One model's completion of an example's prompt. score in 0..1; stop: "eos", "length", or "" where it is not stored."""

    model: str
    text: str
    score: FiniteFloat
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
    """The log of one training. steps: optimiser steps (last of each averaged bin); figures: name -> one mean per bin."""

    family: str
    method: str
    seed: int
    stage: str
    steps: list[int]
    figures: dict[str, list[FiniteFloat | None]]


class StageLine(TypedDict):
    """The cost of one stage. seconds: wall clock; kind: its line in Table 5, or its kind of stage.

    record_sha256: of the artifact's record.json; absent from results of older code.
    """

    artifact: str
    record_sha256: NotRequired[str]
    stage: str
    kind: str
    label: str
    seconds: FiniteFloat
    gpu_hours: FiniteFloat
    peak_memory_gib: FiniteFloat
    started: str
    ended: str
    summary: dict[str, Any]


Measured = FiniteFloat | Literal["nan", "inf", "-inf"]
"""JSON cannot encode NaN or infinity."""


class PanelLine(TypedDict):
    """One measure of one task, with its interval."""

    policy: str
    measure: str
    unit: str
    task: str
    value: Measured
    low: Measured
    high: Measured


class FrequencyLine(TypedDict):
    """One K of one task, or the tail of one (`beyond`): rank correlation of frequency and contribution, with its interval.

    share: the tail's part of the KL. Results of older code have no tails.
    """

    task: str
    k: int
    beyond: NotRequired[bool]
    share: NotRequired[Measured]
    share_low: NotRequired[Measured]
    share_high: NotRequired[Measured]
    whole_vocabulary: bool
    correlation: Measured
    low: Measured
    high: Measured
    tokens: int


class GradientLine(TypedDict):
    """One prompt's gradient variances, sequence KL over token KL."""

    ratio: Measured


class Diagnosis(TypedDict):
    """The fields of a diagnosis's summary that a page reads."""

    panel: list[PanelLine]
    frequency: list[FrequencyLine]
    gradient_variance: list[GradientLine]
    gradient_tokens: int


class MatrixSide(TypedDict):
    """A guard or an attack of a matrix.

    Attributes:
        shows_or_needs: what a guard shows at most, or an attack needs at least.
        trains: the guard trains a model; absent for attacks, and from results of older code.
    """

    label: str
    formula: str
    source: str
    shows_or_needs: str
    trains: NotRequired[bool]


class Matrix(TypedDict):
    """Rows and columns of a matrix of guards and attacks.

    speed: of each guarded teacher relative to the open one, by family and guard; absent from results of older code.
    """

    guards: list[MatrixSide]
    attacks: list[MatrixSide]
    speed: NotRequired[dict[str, dict[str, FiniteFloat]]]


class LeakRung(TypedDict):
    """An attack, and the rung of what a teacher shows that it stands on."""

    rung: str
    attack: str


class Leak(TypedDict):
    """Attacks from the lowest rung to the highest, and each student's queries to the teacher by family and row."""

    rungs: list[LeakRung]
    queries: dict[str, dict[str, int]]


class LossLine(TypedDict):
    """A distillation loss that a study compared. settings: "beta=0.5"; empty if it has none."""

    label: str
    formula: str
    settings: str
    source: str


class Extras(TypedDict):
    """Facts for a single study: costs (Table 5); parameters of teachers by family and name, None: unknown (Figure 1a); the
    sides of the matrix (guards, leak); rungs and queries (leak); the losses that were compared, reverse KL first (losses)."""

    costs: NotRequired[Costs]
    parameters: NotRequired[dict[str, dict[str, FiniteFloat | None]]]
    matrix: NotRequired[Matrix]
    leak: NotRequired[Leak]
    losses: NotRequired[list[LossLine]]


class MissingRow(TypedDict):
    """A row that could not be measured, and the stage failure behind it."""

    family: str
    method: str
    reason: str


class Result(TypedDict):
    """One run of one study: everything the page shows, so that it needs no other file.

    Attributes:
        format: `FORMAT` of the code that wrote it; absent from results of older code, which are of format 1.
        assignments: the `--set key=value` options.
        verdicts: the run's own; a page judges again and shows what differs.
        unpinned: hub ids read without a pinned revision, and models behind a server; absent from results of older code.
        own_claims: claims of the user's own; absent without any.
        missing: rows without numbers because stages failed; absent from a complete result.
        rehearsal: True if its models are miniatures (`repro run --rehearse`), so that its numbers mean nothing; else absent.
        stored_files: name -> sha256 of the stored tables, claims and margins that the run was judged against.
        styles: how the models of evaluated rows answer; absent from results of older code.
    """

    format: NotRequired[int]
    study: str
    scale: str
    families: list[str]
    tasks: list[str]
    seeds: list[int]
    made: str
    settings: dict[str, Any]
    assignments: list[str]
    code: Code
    unpinned: NotRequired[list[str]]
    libraries: dict[str, str]
    hardware: Hardware
    stored_files: dict[str, str]
    verdicts: Verdicts
    measured: list[dict[str, Any]]
    rows: list[RowLine]
    stages: list[StageLine]
    examples: list[Example]
    curves: list[Curve]
    styles: NotRequired[list[StyleLine]]
    extras: NotRequired[Extras]
    own_claims: NotRequired[list[dict[str, Any]]]
    missing: NotRequired[list[MissingRow]]
    rehearsal: NotRequired[bool]


_SHAPE = pydantic.TypeAdapter(Result)
_DIAGNOSIS = pydantic.TypeAdapter(Diagnosis)


def read_result(result: Path) -> Result:
    """Read a results.json (the file, or the folder that holds it).

    Raises:
        InputError: there is none, it is damaged or of a later format; names the file and the first key that is wrong.
    """
    file = result if result.is_file() else result / RESULTS_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        if (result / RECORD).is_file():
            raise InputError(
                f"{result}: an artifact of one stage, not a study's result: `repro show` prints it, `repro compare` compares"
                " evaluations."
            ) from None
        if not result.exists():
            raise InputError(
                f"{result}: no such folder. {did_you_mean_path(result)}`repro ls FOLDER -a` lists results and artifacts."
            ) from None
        raise InputError(
            f"{result}: no {RESULTS_FILE} there. Give the folder of a study's result; `repro ls FOLDER` lists them."
        ) from None
    except ValueError as cause:
        raise InputError(f"{file}: damaged {RESULTS_FILE} ({cause}). {RUN_AGAIN}") from None
    written = content.get("format", FORMAT) if isinstance(content, dict) else FORMAT
    if isinstance(written, int) and written > FORMAT:
        raise InputError(
            f"{file}: of format {written}; this version of the kit reads formats up to {FORMAT}. Use the version that wrote it,"
            " or a later one."
        )
    try:
        _SHAPE.validate_python(content, strict=True)
        for line in content["stages"]:
            if line["stage"] == "diagnose":
                _DIAGNOSIS.validate_python(line["summary"], strict=True)
    except pydantic.ValidationError as cause:
        first = cause.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(file)"
        raise InputError(f"{file}: damaged {RESULTS_FILE}: key {key}: {describe_problem(first)}. {RUN_AGAIN}") from None
    return cast(Result, content)


def own_claims(content: Result) -> list[Claim]:
    """Return the user's own claims that a result was judged by.

    Raises:
        InputError: one is damaged.
    """
    try:
        return [Claim.model_validate(claim, strict=False) for claim in content.get("own_claims", ())]
    except pydantic.ValidationError as cause:
        raise InputError(f"result: damaged: own_claims: {describe_problem(cause.errors()[0])}. {RUN_AGAIN}") from None


def measured_tables(content: Result) -> list[MeasuredTable]:
    """Return the measured tables, one per family, with every check of their numbers."""
    etas = content["settings"].get("etas", ())
    try:
        values = tuple(float(eta) for eta in etas)
    except (TypeError, ValueError):
        raise InputError(f"result: settings.etas is {etas!r}, not a list of numbers.") from None
    return [MeasuredTable.from_dict(_with_chance(table), values) for table in content["measured"]]


def _with_chance(table: dict[str, Any]) -> dict[str, Any]:
    """Add the scores of guessing, missing from older results: without them, a student at chance could "collapse"."""
    items = table.get("items")
    known = set(items) & set(registry.names()) if isinstance(items, dict) else set()  # `from_dict` refuses another
    return {"chance": {task: registry.chance(task) for task in known}, **table}
