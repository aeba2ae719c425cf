"""Export a trained model: its folder with a card, its measured results, and the record of what made it."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pydantic
import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from repro.errors import InputError
from repro.models.loading import revision_of
from repro.pipeline.model_card import CardFacts, hub_of, write_card
from repro.pipeline.record import find_damage
from repro.printed.load import load_claims
from repro.report.result import RESULTS_FILE, own_claims, read_result
from repro.stages import MakesModel, stage_adapter
from repro.stages.artifact import CACHE, MODEL, RECORD
from repro.stages.readable_label import describe_made_model
from repro.stages.references import STORED
from repro.system.atomic_write import write_json
from repro.workflow.new_folder import new_folder

METRICS = ("acc", "reward")


def artifact_of(path: Path) -> Path | None:
    """Return the artifact of a folder (an artifact or its model folder); None if it is neither."""
    for folder in (path, path.parent):
        if (folder / RECORD).is_file():
            return folder
    return None


def export_model(source: Path, into: Path) -> list[Path]:
    """Copy a trained model into a new folder in the hub's layout; return the files written in addition to the weights.

    Args:
        source: the artifact of a calibration or distillation, or its model folder.
        into: must not exist, or be empty.

    Raises:
        InputError: no such artifact, a damaged one, or a folder with content.
    """
    artifact = artifact_of(source.resolve())
    if artifact is None or not (artifact / MODEL).is_dir():
        raise InputError(
            f"{source}: holds no model made by this kit. Give the artifact of a calibration or distillation."
        )
    if damage := find_damage(artifact):
        raise InputError(f"artifact {artifact}: {damage}. Run again: it is set aside and computed again.")
    record = json.loads((artifact / RECORD).read_text())
    stage = stage_from(record)
    facts, entries = _collect(artifact, record)
    with new_folder(into):
        shutil.copytree(artifact / MODEL, into, dirs_exist_ok=True)
        written = [write_card(into, stage, facts)]
        (into / "provenance").mkdir()
        write_json(into / "provenance" / RECORD, record)
        written.append(into / "provenance" / RECORD)
        if entries:
            file = into / ".eval_results" / "distillability-repro.yaml"
            file.parent.mkdir()
            file.write_text(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False), encoding="utf-8")
            written.append(file)
    return written


def stage_from(record: dict[str, Any]) -> MakesModel:
    """Rebuild the stage of a record, keeping its recorded fingerprint.

    Raises:
        InputError: a different kind of stage, or one from an incompatible version of the code.
    """
    try:
        stage = stage_adapter.validate_python(to_tuples(record["config"]), context=STORED)
    except (pydantic.ValidationError, KeyError) as error:
        raise InputError(
            f"{record.get('label')}: its record was written by another version of the code ({error}). Export it with that version."
        ) from None
    if not isinstance(stage, MakesModel):
        raise InputError(
            f"{record['label']}: this stage makes no model. Give the artifact of a calibration or distillation."
        )
    stage.__dict__["fingerprint"] = record["fingerprint"]
    return stage


def to_tuples(config: Any) -> Any:
    """Convert lists in JSON content to tuples, as the strict configurations require."""
    if isinstance(config, dict):
        return {key: to_tuples(value) for key, value in config.items()}
    return tuple(map(to_tuples, config)) if isinstance(config, list) else config


def _collect(artifact: Path, record: dict[str, Any]) -> tuple[CardFacts, list[EvalResultEntry]]:
    """Collect a model's measurements: evaluations in the same cache (the last one per task), and results beside it."""
    summary = json.loads((artifact / "summary.json").read_text())
    accuracies: dict[tuple[str, str], float] = {}
    entries: list[EvalResultEntry] = []
    sources = []
    evaluations = set()
    revision = revision_of(str(artifact / MODEL))
    files = sorted(artifact.parent.glob(f"evaluate-*/{RECORD}"))
    records = [(json.loads(file.read_text()), file.parent) for file in files]
    records.sort(key=lambda pair: str(pair[0]["ended"]), reverse=True)  # the last one per task counts
    for evaluation, folder in records:
        if not _is_of(evaluation, artifact.name, revision):
            continue
        evaluations.add(folder.name)
        measured = _accuracies(json.loads((folder / "summary.json").read_text()))
        new = [(task, metric, value) for task, metric, value in measured if (task, metric) not in accuracies]
        sources += [folder.name] if new else []
        for task, metric, value in new:
            accuracies[task, metric] = value
            if hub := hub_of(task):
                entries.append(EvalResultEntry(hub.id, task, value, date=evaluation["ended"], notes=metric))
    verdicts, results = _verdicts(artifact, evaluations)
    return (
        CardFacts(
            name=describe_made_model(record["config"], artifact.parent),
            prompts=summary.get("prompts"),
            kl=summary.get("kl"),
            accuracies=tuple((task, metric, value) for (task, metric), value in accuracies.items()),
            verdicts=tuple(verdicts),
            sources=(*sources, *results),
        ),
        entries,
    )


def _is_of(evaluation: dict[str, Any], artifact: str, revision: str) -> bool:
    """Return True if an evaluation is of the artifact's model: its stage's input, or a folder with equal content."""
    return artifact in evaluation["inputs"] or evaluation["config"]["model"].get("revision") == revision


def _accuracies(summary: dict[str, Any]) -> list[tuple[str, str, float]]:
    return [
        (task, metric, values[metric])
        for task, values in summary.items()
        if isinstance(values, dict) and "completions_per_item" in values
        for metric in METRICS
        if metric in values
    ]


def _verdicts(artifact: Path, evaluations: set[str]) -> tuple[list[str], list[str]]:
    """Return the verdicts on claims about the model's row, from every result beside the cache that measured it."""
    sentences, names = [], []
    out = artifact.parent.parent
    for file in sorted(out.glob(f"*/{RESULTS_FILE}")) if artifact.parent.name == CACHE else ():
        try:
            content = read_result(file.parent)
        except InputError:
            continue
        rows = {(row["family"], row["method"]) for row in content["rows"] if row["artifact"] in evaluations}
        rows_of = {
            claim.id: {ref.row for ref in (claim.left, *claim.right)}
            for claim in (*load_claims(content["study"]), *own_claims(content))
        }
        claims = [cast(dict[str, Any], claim) for claim in content["verdicts"]["claims"]]
        about = [
            claim for claim in claims if any((claim["family"], row) in rows for row in rows_of.get(claim["claim"], ()))
        ]
        if about:
            names.append(f"{file.parent.name} (row {', '.join(sorted({row for _, row in rows}))})")
        sentences += [
            f"{claim['value']}: {claim['statement']} ({content['study']} at {content['scale']} scale,"
            f" {len(content['seeds'])} seed{'s' if len(content['seeds']) > 1 else ''})"
            for claim in about
        ]
    return sentences, names
