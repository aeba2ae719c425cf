"""Check an embedded world: its properties against their bars, measured on the shipped or retrained models."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from transformers.utils import logging

from repro.errors import InputError
from repro.progress import Progress, silent
from repro.recipes.catalog import settings_of
from repro.system.hardware import hardware
from repro.system.worker_processes import call_in_processes
from repro.tasks.registry import chance
from repro.tasks.toy import get_task
from repro.toy.corpus import stream_pairs
from repro.toy.models import FAMILIES, REWARD_MODEL, WEIGHTS, Family
from repro.toy.questions import RECHECK
from repro.toy.train_models import TEACHER
from repro.toy.world import World
from repro.workflow.world_properties import (
    VERIFIABLE,
    LanguageModel,
    accuracy,
    all_questions,
    best_feature,
    explained,
    flat_groups,
    mean_length,
    preference_accuracy,
    score_r_cal,
    select_questions,
    share_of_texts,
    tail_share,
)

ITEMS, SAMPLES = 300, 4
GROUP = 16
CORPUS_TEXTS = 2000


@dataclass(frozen=True)
class Finding:
    """One measured property.

    Attributes:
        name: P1 to P8, as in docs/toy_world.md.
        subject: family, and task if specific to one.
        value: what was measured, as text.
        bar: what is required, as text.
        holds: the value meets the bar.
    """

    name: str
    subject: str
    value: str
    bar: str
    holds: bool


Models = dict[str, LanguageModel]


def check_world(world: World, weights: Path = WEIGHTS, progress: Progress = silent) -> list[Finding]:
    """Measure all properties of a world, each in its own process, one process per core at a time.

    Args:
        weights: the parent of the worlds' folders.

    Raises:
        InputError: the models are not there.
        StageError: a process ended without a measurement.
    """
    folder = weights / world.models_name
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no models of {world.name}. `repro toy-models --world {world.name} --out DIR` trains them."
        )
    measurements: dict[str, Callable[[], list[Finding]]] = {
        f"{family}: {measure.__doc__}": partial(_measure, measure, world, family, folder)
        for measure in (_movement, _headroom, _graded_reward, _ways, _room, _tail)  # the longest first
        for family in FAMILIES
        if (folder / f"{family}-teacher").is_dir()  # not every world is shipped in both families
    }
    measurements["reward model"] = partial(_reward_model, world, weights / world.facts_name)
    measurements["corpus"] = partial(_other_failures, world)
    findings = call_in_processes(
        measurements, workers=hardware()["cpus"], preload=__name__, progress=progress, unit="properties"
    )
    return sorted(chain.from_iterable(findings.values()), key=lambda finding: (finding.name, finding.subject))


def _measure(
    measure: Callable[[World, Family, Models], Iterator[Finding]], world: World, family: Family, folder: Path
) -> list[Finding]:
    """Return a property's findings. Always single-threaded: another summation order would change the last bits."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    models = {role: LanguageModel.load(folder / f"{family}-{role}") for role in ("teacher", "student", "target")}
    return list(measure(world, family, models))


def _headroom(world: World, family: Family, models: Models) -> Iterator[Finding]:
    """P1 headroom"""
    for name in VERIFIABLE:
        value = accuracy(world, models["teacher"], name, ITEMS, SAMPLES)
        yield Finding("P1", f"{family} {name}", f"teacher {value:.3f}", "0.6 to 0.9", 0.6 <= value <= 0.9)


def _movement(world: World, family: Family, models: Models) -> Iterator[Finding]:
    """P2 plain RFT moves"""
    default = settings_of("toy")
    flat = float(np.mean([flat_groups(world, models["teacher"], name, 32, GROUP) for name in default.tasks]))
    yield Finding("P2", family, f"flat groups {flat:.2f}", "at most 0.5", flat <= 0.5)
    with tempfile.TemporaryDirectory() as work:
        calibrated = LanguageModel.load(_calibrate(world, models, 0.0, Path(work)))
        before, after = (
            float(np.mean([accuracy(world, model, name, ITEMS, SAMPLES) for name in default.tasks]))
            for model in (models["teacher"], calibrated)
        )
    gain = after - before
    yield Finding("P2", family, f"plain RFT {before:.3f} to {after:.3f}", "gains 0.02 or more", gain >= 0.02)


def _calibrate(world: World, models: Models, eta: float, work: Path) -> Path:
    """Calibrate the teacher with the toy scale's settings; return the folder of the model."""
    from repro.calibration.trainer import calibrate
    from repro.evaluation.task_reward import TaskReward

    settings = settings_of("toy")
    items = [item for name in settings.tasks for item in get_task(name, world).items("train", settings.train_items, 0)]
    out = work / "out"
    out.mkdir()
    calibrate(
        settings.calibration.model_copy(update={"eta": eta}),
        teacher=models["teacher"].folder,
        target=models["target"].folder,
        items=items,
        task_reward=TaskReward(None),
        seed=0,
        out=out,
        work=work / "checkpoints",
        progress=silent,
    )
    return out / "model"


def _graded_reward(world: World, family: Family, models: Models) -> Iterator[Finding]:
    """P3 r_cal is graded"""
    teacher = models["teacher"]
    for name in settings_of("toy").tasks:
        completions = teacher.sample(select_questions(world, name, "train", 64), GROUP, 1)
        reward = score_r_cal(teacher, models["target"].folder, completions)
        feature, share = best_feature(world, completions, reward, GROUP)
        yield Finding("P3", f"{family} {name}", f"R^2 {share:.2f} of “{feature}”", "at most 0.5", share <= 0.5)
        length = explained(reward, np.array([len(ids) for ids in completions.token_ids], dtype=np.float64), GROUP)
        yield Finding("P3", f"{family} {name}", f"R^2 {length:.2f} of length", "at most 0.5", length <= 0.5)


def _ways(world: World, family: Family, models: Models) -> Iterator[Finding]:
    """P4 equal ways for the teacher, not for the student"""
    for name in settings_of("toy").tasks:
        walk, leap = (accuracy(world, models["teacher"], name, ITEMS, SAMPLES, way) for way in ("walk", "leap"))
        subject = f"{family} {name}"
        yield Finding("P4", subject, f"teacher {walk:.3f} / {leap:.3f}", "within 0.03", abs(walk - leap) <= 0.03)
        rows = select_questions(world, name, "test", ITEMS)
        lengths = [mean_length(models["teacher"], rows, way) for way in ("walk", "leap")]
        is_equal = abs(lengths[0] - lengths[1]) <= 0.05 * min(lengths)
        yield Finding("P4", subject, f"tokens {lengths[0]:.2f} / {lengths[1]:.2f}", "within 5 %", is_equal)
        walk, leap = (accuracy(world, models["student"], name, ITEMS, SAMPLES, way) for way in ("walk", "leap"))
        is_lost = leap <= chance(name) + 0.05
        yield Finding("P4", subject, f"student {walk:.3f} / {leap:.3f}", "leaps within 0.05 of chance", is_lost)


def _room(world: World, family: Family, models: Models) -> Iterator[Finding]:
    """P5 room for the student"""
    for name in VERIFIABLE:
        value = accuracy(world, models["student"], name, ITEMS, SAMPLES)
        low, high = chance(name) + 0.12, 1 - 0.12
        yield Finding(
            "P5", f"{family} {name}", f"student {value:.3f}", f"{low:.3f} to {high:.2f}", low <= value <= high
        )


def _tail(world: World, family: Family, models: Models) -> Iterator[Finding]:
    """P6 tail noise"""
    rows = list(all_questions(world, settings_of("toy").tasks, "test", ITEMS // 2))
    share = tail_share(models["teacher"], models["student"], rows, SAMPLES)
    holds = share >= 0.3 if world.has_tail else share <= 0.02
    yield Finding(
        "P6", family, f"RKL beyond Top-10 {share:.3f}", "at least 0.3" if world.has_tail else "at most 0.02", holds
    )


def _reward_model(world: World, folder: Path) -> list[Finding]:
    """P7 the reward model knows truth"""
    torch.set_num_threads(1)
    value = preference_accuracy(world, folder / REWARD_MODEL, 400)
    return [Finding("P7", "reward model", f"pairwise {value:.3f}", "at least 0.85", value >= 0.85)]


def _other_failures(world: World) -> list[Finding]:
    """P8 ways to fail other than a short guess"""
    pairs = stream_pairs(world, TEACHER.corpus, seed=0)
    texts = [text for (_, text), _ in zip(pairs, range(CORPUS_TEXTS))]
    rechecks = share_of_texts(texts, lambda text: f" {RECHECK} " in text)
    loops = share_of_texts(texts, lambda text: text.count(f" {RECHECK} ") > 1)
    value, holds = f"re-checks {rechecks:.3f}, repeated {loops:.3f}", rechecks > 0 and loops > 0
    return [Finding("P8", "corpus", value, "both occur", holds)]
