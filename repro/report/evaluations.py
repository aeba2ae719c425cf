"""Compare evaluations: each with its interval and chance level, plus its paired difference to the first."""

import json
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.stages.artifact import RECORD
from repro.stages.model_origin import training_behind
from repro.stages.readable_label import distinguishing_settings
from repro.system.input_errors import did_you_mean_path
from repro.tables.measurements.evaluations import (
    INSTRUCTION,
    Evaluation,
    pool_training_seeds,
    read_evaluation,
)
from repro.tables.paired_difference import PairedDifference, paired_differences, repeat_for_seeds

_MOST = len(string.ascii_uppercase)


@dataclass(frozen=True)
class EvaluationComparison:
    """Evaluations A, B, C ...

    Attributes:
        differences: task -> one per evaluation after the first: its score - the first's, on shared items; None if one
            lacks the task.
        settings: (name, value per evaluation) of sampling and grading settings that differ.
    """

    evaluations: tuple[Evaluation, ...]
    differences: dict[str, list[PairedDifference | None]]
    settings: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def named(self) -> list[tuple[str, str, Evaluation]]:
        """Each evaluation with its letter and a label that distinguishes two samplings of one model."""
        labels = Counter(evaluation.label for evaluation in self.evaluations)
        return [
            (letter, e.label + (f", sampling seed {e.seeds[0]}" if labels[e.label] > 1 else ""), e)
            for letter, e in zip(string.ascii_uppercase, self.evaluations)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "evaluations": [
                {
                    "artifacts": list(map(str, evaluation.folders)),
                    "model": evaluation.label,
                    "seeds": list(evaluation.seeds),
                    "training_seeds": list(map(list, evaluation.trainings)),
                    "tasks": {
                        task: asdict(score) | {"above_chance": score.is_above_chance}
                        for task, score in evaluation.scores.items()
                    },
                }
                for evaluation in self.evaluations
            ],
            "differences": {
                task: [d and {"difference": d.difference, "interval": d.interval, "items": d.items} for d in of_task]
                for task, of_task in self.differences.items()
            },
            "settings": {name: list(values) for name, values in self.settings},
        }


def are_evaluations(folders: Sequence[Path]) -> bool:
    """Return True if the folders are artifacts, False if they are results.

    Raises:
        InputError: one is not there, or some are artifacts and some are not.
    """
    if missing := [folder for folder in folders if not folder.exists()]:
        raise InputError(
            f"{missing[0]}: no such folder. {did_you_mean_path(missing[0])}`repro ls FOLDER -a` lists results and artifacts."
        )
    artifacts = [folder for folder in folders if (folder / RECORD).is_file()]
    if artifacts and len(artifacts) < len(folders):
        other = next(folder for folder in folders if folder not in artifacts)
        raise InputError(
            f"{artifacts[0]} is an artifact and {other} is not: compare evaluations with each other, or two results."
        )
    return bool(artifacts)


def compare_evaluations(folders: Sequence[Path]) -> EvaluationComparison:
    """Compare the first evaluation with every other one, after pooling those that differ only in training seeds.

    Raises:
        InputError: another kind of artifact, a damaged one, one that shares no items with the first, or too many.
    """
    if len(folders) > _MOST:
        raise InputError(f"{len(folders)} evaluations: compare {_MOST} at most.")
    evaluations = [read_evaluation(folder) for folder in folders]
    for evaluation in evaluations:
        if not evaluation.table.values:
            raise InputError(
                f"{evaluation.folders[0]}: evaluated on one item, and an interval needs two or more. Evaluate again with a larger --items."
            )
    first, *others = evaluations = _with_distinct_labels(pool_training_seeds(evaluations))
    pairs = [_pair(first, other) for other in others]
    for other, by_task in zip(others, pairs):
        if not any(difference.items for difference in by_task.values()):
            tasks = [", ".join(evaluation.scores) for evaluation in (first, other)]
            instructions = [evaluation.settings[INSTRUCTION] for evaluation in (first, other)]
            differ = f" The instructions differ: {' and '.join(instructions)}." if len(set(instructions)) > 1 else ""
            raise InputError(
                f"{first.folders[0]} ({tasks[0]}) and {other.folders[0]} ({tasks[1]}) share no items: evaluate both on the same"
                f" task, rows, split and instruction.{differ}"
            )
    tasks_of_all = dict.fromkeys(task for evaluation in evaluations for task in evaluation.scores)
    names = dict.fromkeys(name for evaluation in evaluations for name in evaluation.settings)
    values = {name: tuple(evaluation.settings.get(name, "-") for evaluation in evaluations) for name in names}
    return EvaluationComparison(
        evaluations=tuple(evaluations),
        differences={task: [by_task.get(task) for by_task in pairs] for task in tasks_of_all},
        settings=tuple((name, of_all) for name, of_all in values.items() if len(set(map(str, of_all))) > 1),
    )


def _with_distinct_labels(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Disambiguate shared labels with the settings in which the models' training differs."""
    folders = [evaluation.folders[0] for evaluation in evaluations]
    models = [json.loads((folder / RECORD).read_text())["config"]["model"] for folder in folders]
    trainings = [
        (training_behind(str(model["name"]), folder.parent) or {}) if model["kind"] == "base" else model
        for model, folder in zip(models, folders)
    ]
    labels = [evaluation.label for evaluation in evaluations]
    texts = distinguishing_settings(labels, trainings, [folder.parent for folder in folders])
    return [replace(evaluation, label=f"{evaluation.label}{text}") for evaluation, text in zip(evaluations, texts)]


def _pair(first: Evaluation, other: Evaluation) -> dict[str, PairedDifference]:
    """Return the difference for each shared task. A published model is paired with every training seed."""
    a, b = first.table, other.table
    if not any(first.trainings):
        a = repeat_for_seeds(a, b.seeds)
    elif not any(other.trainings):
        b = repeat_for_seeds(b, a.seeds)
    return {
        difference.task: difference
        for difference in paired_differences(a, b)
        if difference.first is not None and difference.second is not None
    }
