"""How the shipped models are made: the plan of each, trained and written as an ordinary model folder."""

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from repro.errors import InputError
from repro.progress import Progress
from repro.toy.corpus import WEIGHTS, Mix
from repro.toy.preferences import OPEN_TASKS
from repro.toy.pretrain import Pretraining, pretrain
from repro.toy.reward import RewardTraining, train_reward_model
from repro.toy.tasks import TASK_NAMES
from repro.toy.tokenizers import train
from repro.toy.world import FAMILIES, REWARD_MODEL, ROLES, Family, Role

SEED = 0

# The teacher works half of the time and is right either way. Student and target work most of the time, being too
# shallow to answer at once. The student is left half-trained, because a student must have something to learn.
TEACHER = Pretraining(Mix(worked=0.5, primer=0.15, curriculum=72_000), steps=1500, batch=64, learning_rate=3e-3)
STUDENT = Pretraining(
    Mix(worked=0.85, primer=0.1, curriculum=0, weights=WEIGHTS | {"toy-bm4": 5.0}),
    steps=300,
    batch=64,
    learning_rate=3e-3,
)
TARGET = Pretraining(Mix(worked=0.85, primer=0.1, curriculum=0), steps=700, batch=64, learning_rate=3e-3)
PLANS: dict[tuple[Family, Role], Pretraining] = {
    ("qwen3", "teacher"): TEACHER,
    ("qwen3", "student"): STUDENT,
    ("qwen3", "target"): TARGET,
    ("gemma3", "teacher"): TEACHER,
    ("gemma3", "student"): replace(STUDENT, steps=280),  # it learns the chains sooner
    ("gemma3", "target"): TARGET,
}
REWARD_BASE = Pretraining(
    Mix(worked=0.5, primer=0.0, curriculum=0, weights=dict.fromkeys(TASK_NAMES, 0.0) | dict.fromkeys(OPEN_TASKS, 1.0)),
    steps=500,
    batch=64,
    learning_rate=3e-3,
)
REWARD_PLAN = RewardTraining(steps=600, batch=48, learning_rate=2e-3, centring=0.01)


def make(name: str, out: Path, progress: Progress) -> float:
    """Train `<family>-<role>` or `reward-model` and write it as out/name. Returns the seconds that it took."""
    start = time.perf_counter()

    def named(done: int, total: int, unit: str, note: str = "") -> None:
        progress(done, total, unit, f"{name} {note}")

    model, tokenizer = _trained(name, named)
    _write(model, tokenizer, out / name)
    return time.perf_counter() - start


def _trained(name: str, progress: Progress) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if name == REWARD_MODEL:
        # Reward models start from a language model that knows the facts: this one has read descriptions alone.
        tokenizer = train("qwen3")
        base = pretrain("qwen3", "teacher", tokenizer, REWARD_BASE, SEED, progress)
        with tempfile.TemporaryDirectory() as folder:
            base.model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            model, tokenizer, _ = train_reward_model(Path(folder), REWARD_PLAN, SEED, progress)
        return model, tokenizer
    family, role = next((family, role) for family in FAMILIES for role in ROLES if name == f"{family}-{role}")
    tokenizer = train(family)
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
        raise InputError(f"{path}: cannot write the model ({cause}). Give a folder that can be written.") from None
