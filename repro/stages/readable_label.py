"""Artifact labels for people who train their own models: which model, at which eta, by which method and seed.

A stage that reads a model made by another one-stage command only knows its folder, "my/cache/distill-.../model". The
record in that folder says what the model is. Records are read as plain data, so the plug-ins they name need not be
loaded.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.models.loading import is_toy_model
from repro.stages.model_origin import LONGEST_CHAIN, training_behind
from repro.stages.stage import Stage

MOST_SETTINGS = 4
"""Maximum number of settings added to a label shared by several artifacts."""


def describe_model(model: Mapping[str, Any], cache: Path) -> str:
    """Return the label of a model: "acme-tiny by gkd-rkl from acme-large at eta -0.5 (seed 1)".

    Args:
        model: as in a record's settings: a published or local model, or the settings of the stage that trains it.
        cache: the folder of artifacts, where models of other stages are looked up.
    """
    name, seeds = _name(model, cache, LONGEST_CHAIN)
    if not seeds:
        return name
    first, *others = dict.fromkeys(seeds)
    return f"{name} (seed {first}{''.join(f', its teacher {seed}' for seed in others)})"


def describe_made_model(config: Mapping[str, Any], cache: Path) -> str | None:
    """Return the label of the model that a stage makes; None for a student of other than plain completions of its teacher.

    config: the stage's configuration, as in its record.
    """
    return describe_model(config, cache) if _learns_from_samples(config) else None


def describe_record(record: Mapping[str, Any], cache: Path) -> str:
    """Return an artifact's label without its own seed; falls back to the recorded label."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        config = record["config"]
        if config["kind"] != record["stage"] or not _learns_from_samples(config.get("model", config)):
            return str(record["label"])
        if record["stage"] in ("calibrate", "distill"):
            return f"{record['stage']} {_name(config, cache, LONGEST_CHAIN)[0]}"
        if record["stage"] in ("evaluate", "sample"):
            return f"{record['stage']} {describe_model(config['model'], cache)}"
        if record["stage"] == "diagnose":
            student, teacher = (describe_model(config[role], cache) for role in ("student", "teacher"))
            return f"diagnose {student} under {teacher}"
    return str(record["label"])


def describe_stage(stage: Stage, cache: Path) -> str:
    """Return the label of a stage to run: its own, or `describe_record`'s if it reads another command's model."""
    if not any(training_behind(model.name, cache) for model in stage.base_models()):
        return stage.label
    config = stage.model_dump(mode="json")
    return describe_record({"stage": config["kind"], "label": stage.label, "config": config}, cache)


def distinguishing_settings(
    labels: Sequence[str], configs: Sequence[Mapping[str, Any]], caches: Sequence[Path]
) -> list[str]:
    """For labels shared by several stages, return the settings in which the stages or their training differ.

    Like ", learning_rate 0.003"; empty for a unique label, or if the records show no difference.

    Args:
        configs: each stage's settings, as in its record; empty if it has none.
        caches: for each stage, the folder of artifacts in which models of other stages are looked up.
    """
    texts = [""] * len(labels)
    for label in (label for label, count in Counter(labels).items() if count > 1):
        alike = [n for n, other in enumerate(labels) if other == label]
        settings = [_readable_settings(configs[n], caches[n]) for n in alike]
        names = dict.fromkeys(name for of_one in settings for name in of_one)
        differing = [name for name in names if len({of_one.get(name, "-") for of_one in settings}) > 1]
        more = ", ..." if len(differing) > MOST_SETTINGS else ""
        for n, of_one in zip(alike, settings):
            texts[n] = "".join(f", {name} {of_one.get(name, '-')}" for name in differing[:MOST_SETTINGS]) + more
    return texts


def _readable_settings(config: Mapping[str, Any], cache: Path) -> dict[str, str]:
    """Return the settings, stopping at the first that a damaged or foreign record stores in another form."""
    settings: dict[str, str] = {}
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        for name, value in _settings(config, cache, LONGEST_CHAIN):
            settings.setdefault(name, value)
    return settings


def _settings(config: Mapping[str, Any], cache: Path, depth: int, whose: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings of a stage and of the training of the models it reads, as (name, value) texts."""
    for name, value in (config.get("config") or {}).items():
        yield f"{whose}{name}", str(value["name"] if isinstance(value, Mapping) and "name" in value else value)
    if data := config.get("data"):
        yield f"{whose}tasks", "+".join(source["task"] for source in data)
        yield f"{whose}items", str(sum(source["n"] or 0 for source in data))
        yield f"{whose}split", "+".join(dict.fromkeys(source["split"] for source in data))
    if target := config.get("target"):
        yield f"{whose}target", _short(target)
    for role in ("model", "student", "teacher", "samples"):
        made_by = config.get(role)
        if made_by and made_by["kind"] == "base":
            made_by = training_behind(str(made_by["name"]), cache) if depth else None
        if made_by:
            yield from _settings(made_by, cache, depth - 1, f"{whose}{role}'s ")


def with_seed(label: str, seed: int) -> str:
    """Add a stage's seed to its label, unless the label already names the training seeds."""
    return label if "(seed " in label else f"{label} (seed {seed})"


def _name(model: Mapping[str, Any], cache: Path, depth: int) -> tuple[str, tuple[int, ...]]:
    """Return a model's name without seeds, and its seeds: its own training's first, then its teacher's."""
    if model["kind"] == "base":
        made_by = training_behind(str(model["name"]), cache) if depth else None
        return _name(made_by, cache, depth - 1) if made_by else (_short(model), ())
    if model["kind"] == "calibrate":
        teacher, _ = _name(model["teacher"], cache, depth)
        settings = model["config"]
        reward = settings.get("reward", "r_cal")
        control = "" if reward == "r_cal" else f", {reward} reward"
        matched = ", KL-matched" if model.get("matches") else ""
        eta = f"{settings['eta']:+g}" if settings["eta"] else "0"
        return f"{teacher} at eta {eta}{control}{matched}", (model["seed"],)
    if model["kind"] == "distill":
        student, _ = _name(model["student"], cache, depth)
        teacher, seeds = _name(model["teacher"], cache, depth)
        return f"{student} by {_method(model)} from {teacher}", (model["seed"], *seeds)
    teacher, _ = _name(model["teacher"], cache, depth)
    return f"{teacher} with a trained output layer, strength {model['config']['strength']:g}", (model["seed"],)


def _learns_from_samples(model: Mapping[str, Any]) -> bool:
    """Return False for students of guarded, selected or otherwise changed completions: the stage's label names
    these."""
    return (model.get("samples") or {}).get("kind", "sample") == "sample"


def _method(model: Mapping[str, Any]) -> str:
    """Return the distillation method with any non-default options."""
    settings, samples = model["config"], model.get("samples") or {}
    loss = (settings.get("divergence") or {}).get("name")
    parts = [
        f"{settings['method']}{f' with {loss}' if loss else ''}",
        "answer-only traces" if settings.get("traces") == "answer-only" else "",
        "weighted" if model.get("weights") else "",
        f"{samples['kind']} completions" if samples.get("kind", "sample") != "sample" else "",
    ]
    return ", ".join(filter(None, parts))


def _short(model: Mapping[str, Any]) -> str:
    """Return a hub id or toy name unchanged, and the last part of a folder."""
    name = str(model["name"])
    is_local = str(model.get("revision", "")).startswith("sha256:") and not is_toy_model(name)
    return Path(name).name or name if is_local else name
