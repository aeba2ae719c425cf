"""Evaluations in words: the tables and lines of `repro compare`, and the last line of `repro evaluate`."""

import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from repro.report.evaluations import EvaluationComparison
from repro.report.terminal import text_table
from repro.tables.measurements.evaluations import LEVEL, TaskScore, read_evaluation
from repro.tables.metric_names import metric_name
from repro.tables.paired_difference import PairedDifference
from repro.tables.statistics.decision import t_quantile


def describe_evaluation(folder: Path) -> Iterator[str]:
    """Yield a line per task: "acc 0.132 [0.113, 0.150] on acme (129 items x 16); chance about 0.126"."""
    for task, score in read_evaluation(folder).scores.items():
        yield (
            f"{score.metric} {_with_interval(score)} on {task} ({_count_items(score)})"
            + (f"; {score.chance.describe()}" if score.chance else "")
        )


def print_evaluations(comparison: EvaluationComparison, console: Console) -> None:
    """Print which model each letter stands for, a table per task, and each difference to the first in words."""
    letters = [letter for letter, _, _ in comparison.named]
    for letter, label, evaluation in comparison.named:
        folders = "  ".join(map(str, evaluation.folders))
        console.print(f"{letter}  {label}  {folders}", highlight=False, markup=False, soft_wrap=True)
    for name, values in comparison.settings:
        texts = ", ".join(f"{letter} {value}" for letter, value in zip(letters, values))
        console.print(f"Set differently: {name}: {texts}", style="yellow", highlight=False, markup=False)
    for task, differences in comparison.differences.items():
        scores = scores_by_letter(comparison, task)
        rows = [_describe_score(letter, score) for letter, score in scores.items()]
        if any(len(score.by_seed) > 1 for score in scores.values()):
            for row, score in zip(rows, scores.values()):
                row["by training seed"] = ", ".join(f"{value:.3f}" for value in score.by_seed)
        console.print(text_table(rows, f"\n{describe_task(task, list(scores.values()))}"))
        for line in describe_differences(scores, differences):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"\n{describe_intervals(comparison)}", highlight=False, soft_wrap=True)


def describe_differences(
    scores: Mapping[str, TaskScore], differences: Sequence[PairedDifference | None]
) -> Iterator[str]:
    """Yield each difference to A in words.

    Args:
        scores: of one task by letter.
        differences: of B, C, ...
    """
    for letter, difference in zip(string.ascii_uppercase[1:], differences):
        if difference is not None:
            is_luck = all(scores[side].is_above_chance is False for side in ("A", letter))
            yield _describe_difference(letter, difference) + (
                " (neither is shown to be above chance)" if is_luck else ""
            )


def scores_by_letter(comparison: EvaluationComparison, task: str) -> dict[str, TaskScore]:
    """Return the scores of one task by the evaluation's letter."""
    return {letter: evaluation.scores[task] for letter, _, evaluation in comparison.named if task in evaluation.scores}


def describe_intervals(comparison: EvaluationComparison) -> str:
    """Say what the intervals account for, and for which evaluations that is too little."""
    trained = [(letter, evaluation) for letter, _, evaluation in comparison.named if any(evaluation.trainings)]
    single = [letter for letter, evaluation in trained if len(evaluation.folders) == 1]
    more = "train and evaluate with --seed 1, 2 too, and compare all of them at once."
    if len(single) == len(trained):
        return f"Intervals: 95 %, over the items. They say nothing about other training seeds: {more}"
    text = "Intervals: 95 %, over the items and the training seeds."
    if any(len(evaluation.folders) == 2 for _, evaluation in trained):
        text += (
            f" Two trainings say little about the spread between trainings: their intervals reach {t_quantile(LEVEL, 1):.1f} standard"
            f" errors to either side, those of three {t_quantile(LEVEL, 2):.1f}. Train a third."
        )
    if single:
        text += f" Those of {', '.join(single)} rest on one training and say nothing about other training seeds: {more}"
    if len({evaluation.table.seeds for _, evaluation in trained}) > 1:
        text += " Intervals of differences between models with different training seeds leave out the spread between trainings."
    return text


def describe_task(task: str, scores: Sequence[TaskScore]) -> str:
    """Return a task with its items, completions and chance: "acme, 129 items x 16; chance about 0.126"."""
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
        return f"{letter} - A: fewer than two shared items"
    low, high = difference.interval
    words = (
        f"{letter} is better"
        if low > 0
        else f"{letter} is worse"
        if high < 0
        else "not decided, the interval includes 0"
    )
    return f"{letter} - A: {difference.difference:+.3f} [{low:+.3f}, {high:+.3f}] on {difference.items} shared items: {words}"
