"""The artifacts behind evaluations, from their records: what made each model, when, where and with which settings."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro.recipes.settings import flatten
from repro.report.blocks import Block, Collapsible, Grid, Text, text_grid
from repro.report.compare import describe_commit
from repro.report.evaluations import EvaluationComparison
from repro.report.figures.evaluations import training_plot
from repro.report.figures.export import inline_chart
from repro.report.figures.style import PAGE
from repro.report.result import Curve
from repro.report.training_history import HISTORY, read_curve
from repro.stages.artifact import RECORD, find_warnings
from repro.stages.model_origin import artifacts_behind
from repro.stages.readable_label import describe_made_model, describe_record

_TITLES = {"distill": "Students in training", "calibrate": "Teachers in calibration"}


class Origin:
    """The artifacts behind the evaluations in a comparison, inputs first, each once.

    Attributes:
        letters: artifact -> the evaluations that it is behind.
        records: artifact -> its record; missing or damaged ones are skipped (`repro verify` reports them).
    """

    def __init__(self, comparison: EvaluationComparison) -> None:
        self.letters: dict[Path, list[str]] = {}
        self._evaluations = [folder for evaluation in comparison.evaluations for folder in evaluation.folders]
        for letter, _, evaluation in comparison.named:
            for artifact in dict.fromkeys(a for folder in evaluation.folders for a in artifacts_behind(folder)):
                self.letters.setdefault(artifact, []).append(letter)
        records = {artifact: _read_json(artifact / RECORD) for artifact in self.letters}
        self.records = {artifact: record for artifact, record in records.items() if "config" in record}

    def warnings(self) -> list[Block]:
        """List the stages' warnings."""
        return [
            Text(f"{artifact.name} ({', '.join(self.letters[artifact])}): {message}", strong=True)
            for artifact in self.records
            for message in find_warnings(_read_json(artifact / "summary.json")).values()
        ]

    def chain(self) -> Grid:
        """Lay out a row per artifact, in the order in which they were made."""
        rows = []
        for artifact, letters in self.letters.items():
            record = self.records.get(artifact, {})
            gpus = [gpu["name"] if isinstance(gpu, dict) else str(gpu) for gpu in record.get("gpus") or []]
            processor = (record.get("hardware") or {}).get("processor")
            row = {
                "artifact": artifact.name,
                "what": describe_record(record, artifact.parent) if record else "not there, or not readable",
                "for": ", ".join(letters),
                "seed": str(record["config"].get("seed", "-")) if record else "-",
                "seconds": f"{record['seconds']:,.0f}" if "seconds" in record else "-",
                "on": ", ".join(gpus) or str(processor or "-"),
                "code": describe_commit(record["code"]) if "code" in record else "-",
                "date": str(record.get("started", "-"))[:10],
            }
            rows.append(row)
        return text_grid("Artifacts, inputs first", rows)

    def commands(self) -> str:
        """Return one command per evaluation that verifies it, a line each."""
        return "\n".join(shlex.join(["repro", "verify", str(folder)]) for folder in self._evaluations)

    def trainings(self) -> Iterator[Block]:
        """Yield the training curves, with the settings folded away."""
        curves: dict[str, list[Curve]] = {}
        settings: list[Block] = []
        for artifact, record in self.records.items():
            if not (artifact / HISTORY).is_file():
                continue
            made = describe_made_model(record["config"], artifact.parent) or str(record["label"])
            label = f"{', '.join(self.letters[artifact])}: {made}"
            try:
                kind, seed = record["stage"], int(record["config"]["seed"])
                curves.setdefault(kind, []).append(read_curve(artifact, "", label, seed, kind))
                values = flatten(record["config"]["config"])
            except (OSError, ValueError, KeyError, TypeError):
                settings.append(Text(f"The log or the settings of {artifact.name} cannot be read.", strong=True))
                continue
            grid = text_grid("Settings", [{"setting": name, "value": str(value)} for name, value in values.items()])
            settings.append(Collapsible(f"Settings of {artifact.name}, {label}", [grid], f"settings-{len(settings)}"))
        for kind, of_kind in curves.items():
            if logged := [curve for curve in of_kind if curve["figures"]]:
                yield inline_chart(training_plot(logged, _TITLES.get(kind, "Trainings"), kind, PAGE), "compare")
        yield from settings


def _read_json(file: Path) -> dict[str, Any]:
    """Read a file of an artifact; empty if missing or damaged."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
