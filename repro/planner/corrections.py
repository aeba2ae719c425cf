"""Correction factors for the model of hours, by kind of stage: from this machine's records, else those shipped."""

import functools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from repro.planner.cards import H100, Card
from repro.planner.records import MeasuredStage, read_measured
from repro.stages import Stage

NEWEST_OF_A_KIND = 9
"""Number of records used per kind and model: the code and the machine's load change over time."""
SPREAD = {False: 2.0, True: 3.0}
"""ASSUMED, by whether GPUs are used: a plan without records is right within this factor. Two machines of two cores differed by
1.6 on one study; Table 5's rows are 0.2 to 14 times the model on ASSUMED counts."""
FITTED = Path(__file__).with_name("fitted.toml")


@dataclass(frozen=True)
class Estimate:
    """Seconds: the most likely value, and the range expected to contain the truth."""

    seconds: float
    low: float
    high: float


@dataclass(frozen=True)
class Corrections:
    """Factors that multiply the model's seconds.

    Attributes:
        models: by (GPUs are used, kind of stage, name of the main model).
        factors: by (GPUs are used, kind of stage), for models without records.
        others: for kinds without records, by whether GPUs are used.
        records: number of records by (GPUs are used, kind of stage).
        process_seconds: startup time of a stage's process on a CPU.
        gpu: the GPU whose modelled seconds are multiplied.
    """

    models: dict[tuple[bool, str, str], float] = field(default_factory=dict)
    factors: dict[tuple[bool, str], float] = field(default_factory=dict)
    others: dict[bool, float] = field(default_factory=dict)
    records: dict[tuple[bool, str], int] = field(default_factory=dict)
    process_seconds: float = 0.0
    gpu: Card = H100

    def estimate(self, stage: Stage, modelled: float, *, on_gpu: bool) -> Estimate:
        """Return the seconds of a stage, including the startup of its process.

        Args:
            modelled: from `roofline.stage_seconds`, on `gpu` or a core.
        """
        key = (on_gpu, stage.procedure)
        factor = self.models.get((*key, _model_name(stage))) or self.factors.get(key)
        if factor is None:
            factor = shipped_factor(*key) * self.others.get(on_gpu, 1.0)
        start = 0.0 if on_gpu else self.process_seconds  # a card's `load_seconds` are minutes
        seconds = start + factor * modelled
        spread = 1.0 if key in self.records else SPREAD[on_gpu]
        return Estimate(seconds, seconds / spread, seconds * spread)


def measured_corrections(measured: Sequence[MeasuredStage]) -> Corrections:
    """Fit factors to records: the median of measured / modelled, per kind of stage and per kind and model.

    A kind without records scales its shipped factor by the median of measured / shipped factor over the other kinds.

    Args:
        measured: newest first.
    """
    by_model: dict[tuple[bool, str, str], list[float]] = {}
    for record in measured:
        key = (record.on_gpu, record.stage.procedure, _model_name(record.stage))
        newest = by_model.setdefault(key, [])
        if len(newest) < NEWEST_OF_A_KIND:
            newest.append(record.seconds / record.modelled)
    by_kind: dict[tuple[bool, str], list[float]] = {}
    for (on_gpu, kind, _), values in by_model.items():
        by_kind.setdefault((on_gpu, kind), []).extend(values)
    factors = {key: median(values) for key, values in by_kind.items()}
    relative: dict[bool, list[float]] = {}
    for (on_gpu, kind), factor in factors.items():
        relative.setdefault(on_gpu, []).append(factor / shipped_factor(on_gpu, kind))
    starts = [record.process_seconds for record in measured if record.process_seconds is not None]
    return Corrections(
        models={key: median(values) for key, values in by_model.items()},
        factors=factors,
        others={on_gpu: median(values) for on_gpu, values in relative.items()},
        records={key: len(values) for key, values in by_kind.items()},
        process_seconds=median(starts[: 3 * NEWEST_OF_A_KIND]) if starts else shipped_process_seconds(),
    )


def _model_name(stage: Stage) -> str:
    """Return the base model that the stage trains, samples from or (in a diagnosis) scores with; "" for rules."""
    main = stage.workload.main
    return main.base_model.name if main is not None else ""


def shipped_corrections() -> Corrections:
    """Return the factors shipped with the code, for a machine without records."""
    return Corrections(process_seconds=shipped_process_seconds())


def corrections_from(out: Path, gpu: Card = H100) -> Corrections:
    """Return this machine's factors from the records below `out`, or the shipped ones if there are none.

    Args:
        gpu: the GPU to plan with.
    """
    return replace(measured_corrections(read_measured(out)), gpu=gpu)


def shipped_factor(on_gpu: bool, procedure: str) -> float:
    """Return the shipped factor of a kind of stage; 1 on GPUs, on which no study has run yet."""
    return 1.0 if on_gpu else float(_fitted()["kinds"].get(procedure, {"factor": 1.0})["factor"])


def shipped_process_seconds() -> float:
    """Return the shipped startup time of a stage's process, in seconds."""
    return float(_fitted()["process_seconds"])


@functools.cache
def _fitted() -> dict[str, Any]:
    return tomllib.loads(FITTED.read_text())
