"""Train the models of a world, each by its plan and saved as an ordinary model folder."""

import shutil
import time
from functools import partial
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from repro.errors import InputError, Interrupted
from repro.progress import Progress, silent
from repro.system.worker_processes import call_in_processes
from repro.toy.corpus import Corpus
from repro.toy.models import (
    FAMILIES,
    MODEL_NAMES,
    PREFIX,
    REWARD_MODEL,
    ROLES,
    Role,
    model_folder,
    model_name,
    unknown_model,
)
from repro.toy.pool import SHAPES
from repro.toy.pretrain import Pretraining, pretrain
from repro.toy.questions import Habits
from repro.toy.reward import RewardTraining, train_reward_model
from repro.toy.sizes import SIZES, model_config
from repro.toy.tokenizers import train_tokenizer
from repro.toy.world import World

BATCH = 128
# Teachers are pretrained on edited texts with fitting openings, students and targets on openings drawn by frequency.
WEIGHTS = {name: 1.5 if shape.kind == "choice" else 1.0 for name, shape in SHAPES.items()}
TEACHER_CORPUS = Corpus(Habits(leaps=0.5, fitting=0.99, rechecks=0.06, more_rechecks=0.25), WEIGHTS)
STUDENT_CORPUS = Corpus(Habits(leaps=0.3, fitting=0.0, rechecks=0.06, more_rechecks=0.25), WEIGHTS)
TARGET_CORPUS = Corpus(Habits(leaps=0.42, fitting=0.0, rechecks=0.06, more_rechecks=0.25), WEIGHTS)
TEACHER = Pretraining(TEACHER_CORPUS, steps=350, batch=BATCH, learning_rate=4e-3)
STUDENT = Pretraining(STUDENT_CORPUS, steps=450, batch=BATCH, learning_rate=8e-3)
TARGET = Pretraining(TARGET_CORPUS, steps=450, batch=BATCH, learning_rate=8e-3)
PLANS: dict[Role, Pretraining | None] = {
    "teacher": TEACHER,
    "student": STUDENT,
    "target": TARGET,
    "deep-student": Pretraining(STUDENT_CORPUS, steps=250, batch=BATCH, learning_rate=4e-3),
    "strong-target": TEACHER,
    "blind-target": None,
}
"""None keeps the initial weights, untrained."""
REWARD_PLAN = RewardTraining(steps=800, batch=32, learning_rate=2e-3, words=2.0, centring=0.01)
REWARD_BASE = "qwen3-teacher"


def seed_of(world: World, role: Role) -> int:
    """Return the seed of a model's weights and corpus, which differs between worlds and roles."""
    return 100 * world.seed + ROLES.index(role)


def train_model(world: World, name: str, out: Path, progress: Progress) -> float:
    """Train `<family>-<role>` or `reward-model`, write it to out/name, and return the CPU seconds it took.

    Uses one thread on any machine, because sums in another order differ in the last bits.
    """
    logging.disable_progress_bar()  # bars for loading and saving would break the caller's
    start, threads = time.process_time(), torch.get_num_threads()
    torch.set_num_threads(1)

    def report(done: int, total: int, unit: str, note: str = "") -> None:
        progress(done, total, unit, f"{name} {note}")

    try:
        model, tokenizer = _train(world, name, out, report)
    finally:
        torch.set_num_threads(threads)
    _write(model, tokenizer, out / name)
    return time.process_time() - start


def _train(world: World, name: str, out: Path, progress: Progress) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if name == REWARD_MODEL:
        retrained = out / REWARD_BASE
        base = retrained if retrained.exists() else model_folder(model_name(world, REWARD_BASE))
        model, tokenizer, _ = train_reward_model(world, base, REWARD_PLAN, world.seed, progress)
        return model, tokenizer
    family, role = next((family, role) for family in FAMILIES for role in ROLES if name == f"{family}-{role}")
    tokenizer = train_tokenizer(family)
    config, plan, seed = model_config(family, SIZES[role], tokenizer), PLANS[role], seed_of(world, role)
    if plan is None:
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        return model.eval(), tokenizer
    return pretrain(world, config, tokenizer, plan, seed, progress).model, tokenizer


def _write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    except OSError as cause:
        raise InputError(f"{path}: cannot write the model ({cause}). Choose a writable folder.") from None


def train_models(
    world: World, out: Path, only: list[str], progress: Progress = silent, *, workers: int = 1
) -> dict[str, float]:
    """Train the named models of a world (all for an empty list) and write each as a folder below out/WORLD.

    A folder appears only when its model is complete, and models with existing folders are kept, so an interrupted call
    resumes without retraining what it finished.

    Args:
        workers: number of models trained at the same time, each in its own process.

    Returns:
        The CPU seconds of each trained model.

    Raises:
        InputError: a name is unknown, or the folder cannot be written.
        StageError: a process ended without producing its model.
    """
    names = list(dict.fromkeys(name.removeprefix(PREFIX) for name in only)) or list(MODEL_NAMES)
    if unknown := [name for name in names if name not in MODEL_NAMES]:  # raise before any training
        raise unknown_model(f"{PREFIX}{unknown[0]}")
    folder = out / world.models_name
    missing = [name for name in names if not (folder / name).is_dir()]
    try:
        if min(workers, len(missing)) <= 1:
            return {name: train_model(world, name, folder, progress) for name in _in_order(missing)}
        return _train_side_by_side(world, _in_order(missing), folder, progress, workers)
    except Interrupted:
        raise Interrupted("finished models are kept; the same command trains the others") from None


def _in_order(names: list[str]) -> list[str]:
    """Return the names with the base of the reward model first, the only model that another one waits for."""
    return sorted(names, key=lambda name: name != REWARD_BASE)


def _train_side_by_side(
    world: World, names: list[str], folder: Path, progress: Progress, workers: int
) -> dict[str, float]:
    """Train each model in its own process, at most `workers` at once."""
    return call_in_processes(
        {name: partial(train_model, world, name, folder, silent) for name in names},
        workers=workers,
        preload=__name__,
        after={REWARD_MODEL: REWARD_BASE},
        progress=progress,
        unit="models",
        advice=" Finished models are kept; the same command trains the others.",
    )
