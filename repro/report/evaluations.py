"""Evaluations side by side: each with its interval and chance level, and the paired difference of each to the first."""

import json
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from repro.errors import InputError
from repro.report.terminal import text_table
from repro.stages.artifact import RECORD
from repro.stages.model_origin import training_behind
from repro.stages.readable_label import distinguishing_settings
from repro.system.input_errors import did_you_mean_path
from repro.tables.measurements.evaluations import (
    INSTRUCTION,
    LEVEL,
    Evaluation,
    TaskScore,
    pool_training_seeds,
    read_evaluation,
)
from repro.tables.metric_names import metric_name
from repro.tables.paired_difference import PairedDifference, paired_differences, repeat_for_seeds
from repro.tables.statistics.decision import t_quantile

_MOST = len(string.ascii_uppercase)


@dataclass(frozen=True)
class EvaluationComparison:
    """Evaluations A, B, C ...

    Attributes:
        differences: task -> one per evaluation after the first: its score - the first's, on the items that both have; None
            where one lacks the task.
        settings: (name, value of each evaluation) of what differs in how they were sampled and graded.
    """

    evaluations: tuple[Evaluation, ...]
    differences: dict[str, list[PairedDifference | None]]
    settings: tuple[tuple[str, tuple[Any, ...]], ...]

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
            f"{artifacts[0]} is an artifact and {other} is not: compare evaluations with evaluations, or two results."
        )
    return bool(artifacts)


def compare_evaluations(folders: Sequence[Path]) -> EvaluationComparison:
    """Compare the first evaluation with each other one; those that differ in training seeds alone are pooled before.

    Raises:
        InputError: another kind of artifact, a damaged one, one that shares no items with the first, or too many.
    """
    if len(folders) > _MOST:
        raise InputError(f"{len(folders)} evaluations: compare {_MOST} at most.")
    evaluations = [read_evaluation(folder) for folder in folders]
    for evaluation in evaluations:
        if not evaluation.table.values:
            raise InputError(f"{evaluation.folders[0]}: has one item, and an interval needs two or more (--items).")
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
    """Add to labels that several evaluations share the settings in which the trainings of their models differ."""
    folders = [evaluation.folders[0] for evaluation in evaluations]
    models = [json.loads((folder / RECORD).read_text())["config"]["model"] for folder in folders]
    trainings = [
        (training_behind(str(model["name"]), folder.parent) or {}) if model["kind"] == "base" else model
        for model, folder in zip(models, folders)
    ]
    labels = [evaluation.label for evaluation in evaluations]
    texts = distinguishing_settings(labels, trainings, [folder.parent for folder in folders])
    return [replace(evaluation, label=f"{evaluation.label}{text}") for evaluation, text in zip(evaluations, texts)]


def describe_evaluation(folder: Path) -> Iterator[str]:
    """Yield a line per task: "acc 0.132 [0.113, 0.150] on acme (129 items x 16); chance about 0.126"."""
    for task, score in read_evaluation(folder).scores.items():
        yield (
            f"{score.metric} {_with_interval(score)} on {task} ({_count_items(score)})"
            + (f"; {score.chance.describe()}" if score.chance else "")
        )


def print_evaluations(comparison: EvaluationComparison, console: Console) -> None:
    """Print which model each letter is, a table per task, and each difference to the first in words."""
    letters = string.ascii_uppercase
    labels = Counter(evaluation.label for evaluation in comparison.evaluations)
    for letter, evaluation in zip(letters, comparison.evaluations):
        label = evaluation.label + (f", sampling seed {evaluation.seeds[0]}" if labels[evaluation.label] > 1 else "")
        folders = "  ".join(map(str, evaluation.folders))
        console.print(f"{letter}  {label}  {folders}", highlight=False, markup=False, soft_wrap=True)
    for name, values in comparison.settings:
        texts = ", ".join(f"{letter} {value}" for letter, value in zip(letters, values))
        console.print(f"Set differently: {name}: {texts}", style="yellow", highlight=False, markup=False)
    for task, differences in comparison.differences.items():
        scores = {
            letter: evaluation.scores[task]
            for letter, evaluation in zip(letters, comparison.evaluations)
            if task in evaluation.scores
        }
        rows = [_describe_score(letter, score) for letter, score in scores.items()]
        if any(len(score.by_seed) > 1 for score in scores.values()):
            for row, score in zip(rows, scores.values()):
                row["by training seed"] = ", ".join(f"{value:.3f}" for value in score.by_seed)
        console.print(text_table(rows, f"\n{_title(task, list(scores.values()))}"))
        for letter, difference in zip(letters[1:], differences):
            if difference is not None:
                text = _describe_difference(letter, difference)
                if all(scores[side].is_above_chance is False for side in ("A", letter)):
                    text += " (neither is shown to be above chance)"
                console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print(f"\n{_describe_intervals(comparison)}", highlight=False, soft_wrap=True)


def _describe_intervals(comparison: EvaluationComparison) -> str:
    """Say what the intervals know, and of which evaluations they know too little."""
    trained = [
        (letter, evaluation)
        for letter, evaluation in zip(string.ascii_uppercase, comparison.evaluations)
        if any(evaluation.trainings)
    ]
    single = [letter for letter, evaluation in trained if len(evaluation.folders) == 1]
    more = "train and evaluate with --seed 1, 2 too, and compare all of them at once."
    if len(single) == len(trained):
        return f"Intervals: 95 %, over the items. They say nothing of other training seeds: {more}"
    text = "Intervals: 95 %, over the items and the training seeds."
    if any(len(evaluation.folders) == 2 for _, evaluation in trained):
        text += (
            f" Two trainings show little of their spread: their intervals reach {t_quantile(LEVEL, 1):.1f} standard errors to"
            f" either side, those of three {t_quantile(LEVEL, 2):.1f}. Train a third."
        )
    if single:
        text += f" Those of {', '.join(single)} alone say nothing of other training seeds: {more}"
    if len({evaluation.table.seeds for _, evaluation in trained}) > 1:
        text += " Differences between models with other training seeds have no spread between trainings."
    return text


def _pair(first: Evaluation, other: Evaluation) -> dict[str, PairedDifference]:
    """Return the difference of each task that both have. A model as it was published stands beside every training seed."""
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


def _title(task: str, scores: Sequence[TaskScore]) -> str:
    counts = dict.fromkeys(_count_items(score) for score in scores)
    chances = dict.fromkeys(score.chance.describe() for score in scores if score.chance)
    return f"{task}, {' or '.join(counts)}{''.join(f'; {chance}' for chance in chances)}"


def _count_items(score: TaskScore) -> str:
    return f"{score.items} item{'' if score.items == 1 else 's'} x {score.completions}"


def _with_interval(score: TaskScore) -> str:
    ends = score.interval
    return f"{score.value:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


def _describe_score(letter: str, score: TaskScore) -> dict[str, str]:
    return {
        "": letter,
        f"{metric_name(score.metric)} [95 %]": _with_interval(score),
        "truncated": f"{score.truncated:.3f}",
        "unparsed": "-" if score.unparsed is None else f"{score.unparsed:.3f}",
        "tokens": f"{score.mean_tokens:.1f}",
        "above chance": {True: "yes", False: "not shown", None: "-"}[score.is_above_chance],
    }


def _describe_difference(letter: str, difference: PairedDifference) -> str:
    if difference.difference is None or difference.interval is None:
        return f"{letter} - A: no two shared items"
    low, high = difference.interval
    words = (
        f"{letter} is better"
        if low > 0
        else f"{letter} is worse"
        if high < 0
        else "not decided, the interval includes 0"
    )
    return f"{letter} - A: {difference.difference:+.3f} [{low:+.3f}, {high:+.3f}] on {difference.items} shared items: {words}"
