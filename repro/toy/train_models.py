"""Training of the shipped models: the plan of each, written as an ordinary model folder."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from repro.errors import InputError
from repro.progress import Progress, silent
from repro.toy.corpus import Phase
from repro.toy.models import FAMILIES, MODELS, PREFIX, REWARD_MODEL, ROLES, Family, Role, model_folder
from repro.toy.pretrain import Pretraining, pretrain
from repro.toy.reward import RewardTraining, train_reward_model
from repro.toy.tokenizers import train_tokenizer

SEED = 0

BATCH = 64

# The qwen3 teacher writes worked answers three times out of four, the gemma3 teacher (slower to learn direct answers) two
# out of three, and both are right in either style. Direct answers to deep chains are learnt from those to shallower ones
# (all at once, they stay at chance for long), so the chains grow, mostly direct, before the styles are mixed. Finding a name
# among the options is learnt slowly too, so its primer is read from the start.
TEACHER = Pretraining(
    (
        Phase({"links": 1.0, "pairs": 5.0, "relations": 0.8, "letters": 2.5, "toy-dolly": 0.6}, 0.1, 400 * BATCH),
        Phase(
            {
                "pairs": 1.0,
                "toy-bm4": 5.0,
                "relations": 0.4,
                "letters": 2.0,
                "toy-csqa": 0.7,
                "toy-dolly": 0.7,
                "toy-vicuna": 0.3,
            },
            0.1,
            450 * BATCH,
        ),
        Phase(
            {
                "pairs": 0.5,
                "toy-bm4": 1.5,
                "toy-bm5": 4.5,
                "letters": 1.2,
                "toy-csqa": 0.9,
                "toy-mmlu-pro": 0.8,
                "toy-dolly": 0.7,
                "toy-vicuna": 0.7,
            },
            0.15,
            600 * BATCH,
        ),
        Phase(
            {
                "pairs": 0.3,
                "toy-bm4": 1.8,
                "toy-bm5": 3.4,
                "letters": 0.3,
                "toy-csqa": 1.0,
                "toy-mmlu-pro": 1.1,
                "toy-supergpqa": 0.6,
                "toy-dolly": 0.8,
                "toy-vicuna": 0.9,
            },
            0.75,
        ),
    ),
    steps=2800,
    batch=BATCH,
    learning_rate=3e-3,
)

# In the qwen3 architecture finding a name among the options takes longest to learn: at first little else is read.
LETTERS_FIRST = Phase({"letters": 3.0, "links": 0.4, "relations": 0.6}, 0.3, 350 * BATCH)

# Student and target mostly write worked answers: they are too shallow for direct ones. The student is left half-trained,
# because it must have something to learn.
SHALLOW = {
    "pairs": 0.8,
    "relations": 0.2,
    "toy-bm4": 4.5,
    "toy-bm5": 4.5,
    "toy-csqa": 0.3,
    "toy-mmlu-pro": 0.2,
    "toy-supergpqa": 0.2,
    "toy-dolly": 0.4,
    "toy-vicuna": 0.4,
}
STUDENT = Pretraining([Phase(SHALLOW, 0.85)], steps=200, batch=BATCH, learning_rate=3e-3)
TARGET = Pretraining([Phase(SHALLOW, 0.85)], steps=700, batch=BATCH, learning_rate=3e-3)
PLANS: dict[tuple[Family, Role], Pretraining] = {
    ("qwen3", "teacher"): replace(TEACHER, mix=(LETTERS_FIRST, *TEACHER.mix), steps=3100),
    ("qwen3", "student"): replace(STUDENT, mix=[Phase(SHALLOW | {"toy-bm4": 4.0, "toy-bm5": 5.4}, 0.85)], steps=210),
    ("qwen3", "target"): TARGET,
    ("gemma3", "teacher"): replace(TEACHER, mix=(*TEACHER.mix[:-1], replace(TEACHER.mix[-1], worked=0.65)), steps=3400),
    ("gemma3", "student"): STUDENT,
    ("gemma3", "target"): TARGET,
}
# Reward models start from a language model that knows the facts: the teacher of the same folder, or the shipped one.
REWARD_BASE = "qwen3-teacher"
REWARD_PLAN = RewardTraining(steps=600, batch=32, learning_rate=1e-3, centring=0.01)


def train_model(name: str, out: Path, progress: Progress) -> float:
    """Train `<family>-<role>` or `reward-model`, write it as out/name, and return the seconds that it took."""
    start = time.perf_counter()

    def report(done: int, total: int, unit: str, note: str = "") -> None:
        progress(done, total, unit, f"{name} {note}")

    model, tokenizer = _train(name, out, report)
    _write(model, tokenizer, out / name)
    return time.perf_counter() - start


def _train(name: str, out: Path, progress: Progress) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if name == REWARD_MODEL:
        retrained = out / REWARD_BASE
        base = retrained if retrained.exists() else model_folder(f"{PREFIX}{REWARD_BASE}")
        model, tokenizer, _ = train_reward_model(base, REWARD_PLAN, SEED, progress)
        return model, tokenizer
    family, role = next((family, role) for family in FAMILIES for role in ROLES if name == f"{family}-{role}")
    tokenizer = train_tokenizer(family)
    return pretrain(family, role, tokenizer, PLANS[family, role], SEED, progress).model, tokenizer


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


def train_models(out: Path, only: list[str], progress: Progress = silent) -> dict[str, float]:
    """Train the named models (all for an empty list) and write each as a folder below `out`.

    Returns the seconds per model. A folder appears only when its model is complete.
    """
    for name in only:
        model_folder(name)  # refuse an unknown name before any training
    return {name: train_model(name.removeprefix(PREFIX), out, progress) for name in only or list(MODELS)}
