"""Model cards for trained models: README.md with the metadata that the Hugging Face Hub reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repro.models.loading import is_toy_model
from repro.stages.output_layer import TrainOutputLayer
from repro.stages.references import BaseModelRef, TaskData
from repro.stages.training import Calibrate, Distill, MakesModel
from repro.system.redaction import redact
from repro.tasks import registry
from repro.tasks.hub import HubSource

CARD_FILE = "README.md"
NOT_A_TEACHER = "Intended to be undistillable: not for use as a teacher"
"""Warning for a teacher that was calibrated with eta < 0 on r_cal, or whose output layer was trained against a proxy. It
states the intent only: whether students really learn less is a measurement, which a card may or may not have."""
PAPER = "Distillation Traps and Guards, arXiv:2604.18963"
_PACKAGE_LICENSE = "apache-2.0"
_CONTROLS = {
    "blind": "r_cal against a target with untrained weights",
    "null": "random noise",
    "style": "whether the completion contains a given text",
    "length": "the length of the completion",
    "taste": "a fixed random preference for tokens",
}
"""What eta weighs in a control, instead of the paper's r_cal."""


@dataclass(frozen=True)
class CardFacts:
    """What is known about a model beyond the stage that made it.

    Attributes:
        name: the model in words (`repro.stages.readable_label`); None for the stage's own label.
        prompts: number of distinct prompts drawn in training; None if the record does not say.
        kl: D(model || base) at the last optimiser steps, nats per token on its own completions; None if not measured.
        accuracies: (task, metric, mean) of evaluations, shares in 0..1.
        verdicts: sentences about the claims that involve the model.
        sources: the artifacts or results behind accuracies and verdicts.
    """

    name: str | None = None
    prompts: int | None = None
    kl: float | None = None
    accuracies: tuple[tuple[str, str, float], ...] = ()
    verdicts: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def model_card(stage: MakesModel, facts: CardFacts) -> str:
    """Return the card of the model that a stage makes; huggingface_hub's `ModelCard(text)` can parse it."""
    from huggingface_hub import EvalResult, ModelCardData

    license_id, license_note = license_of(stage.base_model)
    title = facts.name or stage.model_label
    data = ModelCardData(
        base_model=stage.base_model.name if _is_hub_id(stage.base_model.name) else None,
        license=license_id,
        license_name="unknown" if license_id == "other" else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["distillation", stage.kind, *(["undistillable"] if _is_undistillable(stage) else [])],
        datasets=sorted({source.id for part in stage.data if (source := hub_of(part.task))}) or None,
        model_name=title if facts.accuracies else None,
        eval_results=[
            EvalResult("text-generation", task, task, metric, round(value, 6), metric_name=metric)
            for task, metric, value in facts.accuracies
        ]
        or None,
    )
    lines = [f"# {title}", "", *_warning(stage, facts), *_description(stage, license_note, facts), "", *_facts(facts)]
    lines += [
        f"Paper: {PAPER}. Made by distillability-repro; `record.json` of the artifact holds every setting and hash."
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines) + "\n"


def write_card(folder: Path, stage: MakesModel, facts: CardFacts) -> Path:
    """Write the card into a model folder. It is no part of the model's identity (`models.loading.revision_of`)."""
    path = folder / CARD_FILE
    path.write_text(redact(model_card(stage, facts)), encoding="utf-8")
    return path


def license_of(model: BaseModelRef) -> tuple[str, str]:
    """Return the hub's licence id ("other" if unknown) and a note on where it comes from. Fetches nothing."""
    import yaml
    from huggingface_hub import ModelCard, try_to_load_from_cache

    if is_toy_model(model.name):
        return _PACKAGE_LICENSE, f"{_PACKAGE_LICENSE}, like the package that includes the toy models"
    if _is_hub_id(model.name):
        cached = try_to_load_from_cache(model.name, CARD_FILE)
        card = Path(cached) if isinstance(cached, str) else None
    else:
        card = Path(model.name) / CARD_FILE
    if card is not None and card.is_file():
        try:
            stated = ModelCard.load(card).data.get("license")
        except (ValueError, OSError, yaml.YAMLError):
            stated = None
        if isinstance(stated, str):
            return stated, f"{stated}, as the card of {model.name} states"
    return "other", f"unknown; the licence of {model.name} applies, see its model card"


def hub_of(task: str) -> HubSource | None:
    """Return the hub source of a task's rows; None if it has none or belongs to a plug-in that is not loaded."""
    return registry.hub_of(task) if task in registry.names() else None


def _is_hub_id(name: str) -> bool:
    return not is_toy_model(name) and not Path(name).exists() and name.count("/") == 1


def _is_undistillable(model: object) -> bool:
    """True if students are meant to learn less from it. A control's reward is not meant to do anything to students."""
    if isinstance(model, Calibrate):
        return model.config.eta < 0 and model.config.reward == "r_cal"
    return isinstance(model, TrainOutputLayer)


def _warning(stage: MakesModel, facts: CardFacts) -> list[str]:
    if _is_undistillable(stage):
        has_measurements = facts.accuracies or facts.verdicts
        measured = (
            "What was measured is below" if has_measurements else "Nothing had been measured when this card was written"
        )
        text = "The intention is that students distilled from it do worse than students of its base model"
        return [f"**{NOT_A_TEACHER}.** {text}. {measured}.", ""]
    if isinstance(stage, Distill) and _is_undistillable(stage.teacher):
        return [
            "**Distilled from a teacher that is intended to be undistillable**, to measure the effect on the student.",
            "",
        ]
    return []


def _description(stage: MakesModel, license_note: str, facts: CardFacts) -> list[str]:
    rows = [("base", _name_of(stage.base_model)), ("licence", license_note)]
    if isinstance(stage, Calibrate):
        rows += [
            ("made by", "calibration of a teacher (section 5 of the paper)"),
            ("eta", f"{stage.config.eta:+g} ({_describe_eta(stage)})"),
        ]
        if not stage.config.is_control_reward:
            rows.append(("calibration target", _name_of(stage.target)))
    elif isinstance(stage, TrainOutputLayer):
        rows += [
            ("made by", "training only the output layer, against a proxy student (DOGe, arXiv:2505.19504)"),
            ("strength", f"{stage.config.strength:g} at temperature {stage.config.temperature:g}"),
            ("proxy", _name_of(stage.proxy)),
        ]
    else:
        rows += [
            ("made by", f"distillation, {stage.config.method}"),
            ("teacher", stage.teacher.model_label),
        ]
    rows.append(("steps", f"{stage.config.steps}, learning rate {stage.config.learning_rate:g}"))
    rows += [
        ("data", _describe_data(stage.data, facts.prompts)),
        ("seed", str(stage.seed)),
        ("artifact", stage.folder_name),
    ]
    return ["| | |", "|---|---|", *(f"| {name} | {_escape(text)} |" for name, text in rows)]


def _describe_eta(stage: Calibrate) -> str:
    """Say what a calibration with this eta and reward is for."""
    if stage.config.eta == 0:
        return "plain RFT"
    if stage.config.reward != "r_cal":
        matched = ", KL-matched" if stage.matches else ""
        return f"control{matched}: weighs {_CONTROLS[stage.config.reward]} instead of r_cal"
    return "intended: distillable" if stage.config.eta > 0 else "intended: undistillable"


def _describe_data(data: Sequence[TaskData], prompts: int | None) -> str:
    """Describe the available training data, and how many prompts were drawn from it if not all."""
    text = "; ".join(f"{part.task}, {part.split} split, {part.n or 'all'} prompts" for part in data)
    counts = [part.n for part in data if part.n is not None]
    drew_all = prompts is None or (len(counts) == len(data) and prompts == sum(counts))
    return text if drew_all else f"{text}, of which {prompts} were drawn in training"


def _name_of(model: BaseModelRef) -> str:
    return f"{Path(model.name).name if model.is_local and not model.is_toy else model.name} ({model.revision[:19]})"


def _facts(facts: CardFacts) -> Iterable[str]:
    if facts.kl is not None:
        yield f"KL divergence to the base at the end of training: {facts.kl:.4g} nats per token, on its own completions."
        yield ""
    if facts.accuracies:
        yield "| task | metric | measured |"
        yield "|---|---|---|"
        yield from (f"| {task} | {metric} | {value:.3f} |" for task, metric, value in facts.accuracies)
        yield ""
    if facts.verdicts:
        yield from (f"- {text}" for text in facts.verdicts)
        yield ""
    if facts.sources:
        yield f"Measured in: {', '.join(facts.sources)}."
        yield ""
    if not facts.accuracies:
        yield (
            "Not evaluated when this card was written. The card inside an artifact is never updated: after `repro evaluate`,"
            " `repro export` writes a card with the measured numbers."
        )
        yield ""


def _escape(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
