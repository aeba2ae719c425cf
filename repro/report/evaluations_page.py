"""`repro compare --page`: evaluations side by side, the trainings behind them, and completions, on a page with its brief."""

import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro.recipes.settings import flatten
from repro.report.blocks import (
    Block,
    Bullets,
    Cell,
    Code,
    Collapsible,
    Grid,
    Section,
    SideBySide,
    Text,
    number_cell,
    text_grid,
)
from repro.report.evaluation_text import describe_differences, describe_intervals, describe_task, scores_by_letter
from repro.report.evaluations import EvaluationComparison
from repro.report.examples import PROMPTS, first_completions
from repro.report.figures.evaluations import scores_plot, training_plot
from repro.report.figures.export import inline_chart
from repro.report.figures.style import PAGE
from repro.report.html import page_of_sections
from repro.report.markdown import markdown_lines
from repro.report.result import Curve
from repro.report.sections.glossary import glossary_section
from repro.report.text import visible
from repro.report.training_history import HISTORY, read_curve
from repro.report.write import place_page, write_texts
from repro.stages.artifact import RECORD, ROLLOUTS, find_warnings
from repro.stages.model_origin import artifacts_behind
from repro.stages.readable_label import describe_made_model, describe_record
from repro.tables.measurements.evaluations import Evaluation, TaskScore
from repro.tables.metric_names import metric_name

GENERATOR = "repro compare"
LEAD = "Models on the same questions. Every difference is to A, paired by item."
_LAST_LINE = "Pictures, trainings and completions: "
_CHECKED = (
    "Each artifact's record.json has its settings, versions, hardware and the hashes of its files. To check them:"
)
_TITLES = {"distill": "Students in training", "calibrate": "Teachers in calibration"}


def write_comparison_page(comparison: EvaluationComparison, page: Path) -> tuple[Path, Path]:
    """Write the page and its brief beside it, ending in .md; return both paths. A page of this command is replaced.

    Raises:
        InputError: the file cannot be written, or is not a page of this command.
    """
    page, brief = place_page(page, "--page", GENERATOR, _LAST_LINE)
    title = f"{len(comparison.evaluations)} evaluations compared"
    sections = _sections(comparison)
    sample = "; ".join(
        describe_task(task, list(scores_by_letter(comparison, task).values())) for task in comparison.differences
    )
    lines = [f"# {title}", "", LEAD, ""]
    for section in sections:
        if section.brief:
            lines += [f"## {visible(section.title)}", "", *markdown_lines(section.brief)]
    lines += [f"{_LAST_LINE}{page.name}", ""]
    html = page_of_sections(title, LEAD, [*sections, glossary_section()], sample, GENERATOR)
    write_texts({page: html, brief: "\n".join(lines)}, "--page")
    return page, brief


def _sections(comparison: EvaluationComparison) -> list[Section]:
    intro: list[Block] = [_models(comparison), *_set_differently(comparison)]
    words: list[Block] = [Bullets(list(_differences(comparison))), Text(describe_intervals(comparison))]
    chart = inline_chart(scores_plot(comparison, PAGE), "compare")
    scores = list(_score_grids(comparison))
    origin = _Origin(comparison)
    made: list[Block] = [*origin.warnings(), origin.chain(), Text(_CHECKED), Code("\n".join(origin.commands()))]
    sections = [
        Section("found", "What was found", [*intro, chart, *words], brief=[*intro, *words]),
        Section("scores", "Scores", scores, brief=scores),
        Section("made", "How each was made", [*made, *origin.trainings()], brief=made),
    ]
    examples = first_completions(_completions(comparison), _shared_prompts(comparison))
    if examples:
        note = Text("The first completion of each model on the first questions that all answered. None was chosen.")
        sections.append(Section("completions", "Completions", [note, *map(SideBySide, examples)]))
    return sections


def _models(comparison: EvaluationComparison) -> Grid:
    """Lay out which model each letter is."""
    rows = [
        {
            "evaluation": letter,
            "model": evaluation.label,
            "artifact": ", ".join(folder.name for folder in evaluation.folders),
        }
        for letter, evaluation in _lettered(comparison)
    ]
    return text_grid("Models", rows)


def _set_differently(comparison: EvaluationComparison) -> list[Block]:
    """Say what differs in how completions were sampled and graded: a difference may be due to it."""
    if not comparison.settings:
        return []
    letters = [letter for letter, _ in _lettered(comparison)]
    rows = [{"setting": name, **dict(zip(letters, map(str, values)))} for name, values in comparison.settings]
    warning = "The evaluations were not made alike, so that a difference may be due to this:"
    return [Text(warning, strong=True), text_grid("Set differently", rows)]


def _differences(comparison: EvaluationComparison) -> Iterator[str]:
    several = len(comparison.differences) > 1
    for task, differences in comparison.differences.items():
        for line in describe_differences(scores_by_letter(comparison, task), differences):
            yield f"{task}: {line}" if several else line


def _score_grids(comparison: EvaluationComparison) -> Iterator[Grid]:
    """Yield a table per task."""
    for task in comparison.differences:
        scores = scores_by_letter(comparison, task)
        yield Grid(
            describe_task(task, list(scores.values())),
            [_score_row(letter, score, comparison) for letter, score in scores.items()],
        )


def _score_row(letter: str, score: TaskScore, comparison: EvaluationComparison) -> dict[str, Cell]:
    evaluation = dict(_lettered(comparison))[letter]
    ends = "" if score.interval is None else f"{score.interval[0]:.3f} to {score.interval[1]:.3f}"
    by_seed = ", ".join(f"{value:.3f}" for value in score.by_seed) if len(score.by_seed) > 1 else ""
    return {
        "evaluation": Cell(letter, evaluation.label),
        metric_name(score.metric): Cell(f"{score.value:.3f}", ends, value=score.value),
        "by training seed": Cell(by_seed or "-"),
        "above chance": Cell({True: "yes", False: "not shown", None: "-"}[score.is_above_chance]),
        "truncated": number_cell(score.truncated, ".3f"),
        "unparsed": number_cell(score.unparsed, ".3f", missing="-"),
        "tokens": number_cell(score.mean_tokens, ".1f"),
    }


class _Origin:
    """The artifacts behind the evaluations, by their records; each once, with the letters that it is behind."""

    def __init__(self, comparison: EvaluationComparison) -> None:
        self.letters: dict[Path, list[str]] = {}
        self.evaluations = [folder for _, evaluation in _lettered(comparison) for folder in evaluation.folders]
        for letter, evaluation in _lettered(comparison):
            for artifact in dict.fromkeys(a for folder in evaluation.folders for a in artifacts_behind(folder)):
                self.letters.setdefault(artifact, []).append(letter)
        records = {artifact: _read_json(artifact / RECORD) for artifact in self.letters}
        self.records = {artifact: record for artifact, record in records.items() if "config" in record}

    def warnings(self) -> list[Block]:
        """List what the stages warned of."""
        return [
            Text(f"{artifact.name} ({', '.join(letters)}): {message}", strong=True)
            for artifact, letters in self.letters.items()
            if artifact in self.records
            for message in find_warnings(_read_json(artifact / "summary.json")).values()
        ]

    def chain(self) -> Grid:
        """Lay out a row per artifact, in the order in which they were made."""
        rows = [
            {
                "artifact": artifact.name,
                "what": describe_record(record, artifact.parent),
                "for": ", ".join(self.letters[artifact]),
                "seed": str(record["config"].get("seed", "-")),
                "seconds": f"{record.get('seconds', 0):,.0f}",
                "on": _machine(record),
                "code": _commit(record),
                "date": str(record.get("started", ""))[:10],
            }
            for artifact, record in self.records.items()
        ]
        for artifact in (artifact for artifact in self.letters if artifact not in self.records):
            known = {"artifact": artifact.name, "what": "not there", "for": ", ".join(self.letters[artifact])}
            rows.append(dict.fromkeys(rows[0], "-") | known)
        return text_grid("Artifacts, inputs first", rows)

    def commands(self) -> list[str]:
        """Return a command per evaluation that verifies it."""
        return [f"repro verify {folder}" for folder in self.evaluations]

    def trainings(self) -> Iterator[Block]:
        """Yield the curves of the trainings, and their settings folded away."""
        curves: dict[str, list[Curve]] = {}
        settings = []
        for artifact, record in self.records.items():
            if (artifact / HISTORY).is_file():
                made = describe_made_model(record["config"], artifact.parent) or str(record["label"])
                label = f"{', '.join(self.letters[artifact])}: {made}"
                kind, seed = record["stage"], int(record["config"]["seed"])
                curves.setdefault(kind, []).append(read_curve(artifact, "", label, seed, kind))
                values = {name: str(value) for name, value in flatten(record["config"]["config"]).items()}
                grid = text_grid("Settings", [{"setting": name, "value": value} for name, value in values.items()])
                settings.append(
                    Collapsible(f"Settings of {artifact.name}, {label}", [grid], f"settings-{artifact.name}")
                )
        for kind, of_kind in curves.items():
            logged = [curve for curve in of_kind if curve["figures"]]
            if logged:
                title = _TITLES.get(kind, "Trainings")
                yield inline_chart(training_plot(logged, title, kind, PAGE), "compare")
        yield from settings


def _machine(record: dict[str, Any]) -> str:
    gpus = [gpu["name"] if isinstance(gpu, dict) else str(gpu) for gpu in record.get("gpus") or []]
    return ", ".join(gpus) or str(record.get("hardware", {}).get("processor") or "-")


def _commit(record: dict[str, Any]) -> str:
    code = record.get("code") or {}
    return f"{(code.get('commit') or 'unknown')[:12]}{' (changed)' if code.get('dirty') else ''}"


def _completions(comparison: EvaluationComparison) -> dict[str, list[Path]]:
    """Return the completions of each model by its name on the page; of the first training seed."""
    return {
        f"{letter}: {evaluation.label}": [evaluation.folders[0] / ROLLOUTS]
        for letter, evaluation in _lettered(comparison)
    }


def _shared_prompts(comparison: EvaluationComparison) -> list[tuple[str, str]]:
    """Return the first questions of each task that all evaluations have: same id, prompt and key."""
    prompts = []
    for task in comparison.differences:
        items = [evaluation.table.items.get(task, ()) for evaluation in comparison.evaluations]
        shared = set(items[0]).intersection(*items[1:])
        prompts += [(task, json.loads(item)[0]) for item in items[0] if item in shared][:PROMPTS]
    return prompts


def _lettered(comparison: EvaluationComparison) -> list[tuple[str, Evaluation]]:
    return list(zip(string.ascii_uppercase, comparison.evaluations))


def _read_json(file: Path) -> dict[str, Any]:
    """Read a file of an artifact; nothing if it is gone or damaged, which `repro verify` reports."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
