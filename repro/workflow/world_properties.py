"""Properties an embedded world must have for its results to be informative about the method, measured on its models."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from repro.calibration.advantages import flat_share, group_z
from repro.calibration.reward import TargetScorer, calibration_reward
from repro.evaluation.reward_model import RewardModel
from repro.models.loading import load_for_training, load_tokenizer
from repro.models.scoring import completion_log_prob
from repro.tasks.grading import grade
from repro.toy.pool import SHAPES, Split, questions
from repro.toy.preferences import preference_pairs, score_text
from repro.toy.questions import LEAP, Question
from repro.toy.sample import Completions, Way, sample_completions
from repro.toy.world import World
from repro.traps.token_kl import top_k_partial_sums

VERIFIABLE = tuple(name for name, shape in SHAPES.items() if shape.kind != "open")
TOP_K = 10
POSITIONS = 12
"""Number of leading words of a text that are position-specific features."""
COMMON = 0.02
"""Features that fewer texts have (or lack) are ignored: they explain nothing about a group."""


@dataclass(frozen=True)
class LanguageModel:
    """A model with its tokenizer and folder."""

    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def load(cls, folder: Path) -> "LanguageModel":
        """Load a folder's model, for evaluation."""
        model = load_for_training(folder).eval()
        return cls(folder, model, load_tokenizer(folder))

    def sample(self, rows: Sequence[Question], group_size: int, seed: int, way: Way = "free") -> Completions:
        """Sample completions of questions at temperature 1."""
        return sample_completions(self.model, self.tokenizer, rows, group_size, seed=seed, way=way)


def select_questions(world: World, name: str, split: Split, n: int) -> tuple[Question, ...]:
    """Return the first n questions of a task's split."""
    return questions(world, name, split)[:n]


def task_rewards(world: World, completions: Completions) -> NDArray[np.float64]:
    """Return [n] r_task: 1 for a right answer, 0 for a wrong one; for an open question, the share that is true."""
    return np.array(
        [
            score_text(world, question, text)
            if question.kind == "open"
            else grade(question.kind, text, question.key(world), question.prompt).correct
            for question, text in zip(completions.questions, completions.texts)
        ],
        dtype=np.float64,
    )


def accuracy(world: World, model: LanguageModel, name: str, items: int, group_size: int, way: Way = "free") -> float:
    """Return the mean r_task of sampled completions of a task's test questions."""
    rows = select_questions(world, name, "test", items)
    return float(task_rewards(world, model.sample(rows, group_size, 0, way)).mean())


def mean_length(model: LanguageModel, rows: Sequence[Question], way: Way) -> float:
    """Return the mean number of tokens of completions written in a given way."""
    return float(np.mean([len(ids) for ids in model.sample(rows, 1, 0, way).token_ids]))


def flat_groups(world: World, model: LanguageModel, name: str, prompts: int, group_size: int) -> float:
    """Return the share of a task's training prompts whose group has all-equal rewards."""
    completions = model.sample(select_questions(world, name, "train", prompts), group_size, 0)
    return flat_share(task_rewards(world, completions), group_size)


def score_r_cal(policy: LanguageModel, target: Path, completions: Completions) -> NDArray[np.float64]:
    """Return [n] r_cal (Eq 10, 11) of a policy's completions, nats."""
    from trl.trainer.utils import add_fused_lm_head

    fused = load_for_training(policy.folder).eval()
    add_fused_lm_head(fused)
    scorer = TargetScorer(target, policy.tokenizer)
    prompts = [question.prompt for question in completions.questions]
    ends = {int(policy.tokenizer.eos_token_id)}
    policy_n = completion_log_prob(fused, completions.prompt_ids, completions.token_ids, batch_size=512)
    return np.asarray(calibration_reward(scorer(prompts, completions.token_ids, ends).log_prob, policy_n))


def text_features(world: World, completions: Completions) -> dict[str, NDArray[np.float64]]:
    """Return name -> [n] binary features of texts: correct, common words anywhere and per position, leap counts."""
    words = [text.split() for text in completions.texts]
    features = {"right": task_rewards(world, completions)}
    for word in sorted(set(itertools.chain(*words))):
        features[f"has {word}"] = np.array([word in text for text in words], dtype=np.float64)
        for position in range(POSITIONS):
            features[f"{word} at {position}"] = np.array(
                [text[position : position + 1] == [word] for text in words], float
            )
    for count in (2, 3):
        features[f"{count} {LEAP}"] = np.array([text.count(LEAP) >= count for text in words], dtype=np.float64)
    return {name: x for name, x in features.items() if COMMON < x.mean() < 1 - COMMON}


def explained(reward: NDArray[np.float64], feature: NDArray[np.float64], group_size: int) -> float:
    """Return R^2 between a feature and the reward's within-group z-score, which is what Algorithm 1 uses."""
    x, y = (values.reshape(-1, group_size) for values in (feature, group_z(reward, group_size)))
    x = x - x.mean(1, keepdims=True)
    sizes = (x**2).sum() * (y**2).sum()
    return float((x * y).sum() ** 2 / sizes) if sizes > 0 else 0.0


def best_feature(
    world: World, completions: Completions, reward: NDArray[np.float64], group_size: int
) -> tuple[str, float]:
    """Return the binary feature that best explains a reward within groups, and its R^2."""
    shares = {name: explained(reward, x, group_size) for name, x in text_features(world, completions).items()}
    return max(shares.items(), key=lambda feature: feature[1])


@torch.no_grad()
def tail_share(teacher: LanguageModel, student: LanguageModel, rows: Sequence[Question], group_size: int) -> float:
    """Return the share of the token RKL, on the student's completions, outside the student's Top-10."""
    completions = student.sample(rows, group_size, 0)
    totals = torch.zeros(2, dtype=torch.float64)
    for first in range(0, len(rows) * group_size, 512):
        part = slice(first, first + 512)
        ids_BT, is_token_BT = _pad(completions.prompt_ids[part], completions.token_ids[part])
        student_N, teacher_N = (
            side.model(input_ids=ids_BT).logits[:, :-1][is_token_BT[:, 1:]] for side in (student, teacher)
        )
        totals += top_k_partial_sums(student_N, teacher_N, (TOP_K, student_N.shape[-1])).sum(1)
    return float(1 - totals[0] / totals[1])


def _pad(prompts: list[list[int]], completions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [B, T] ids padded on the right, and [B, T] true for completion tokens."""
    T = max(len(prompt) + len(ids) for prompt, ids in zip(prompts, completions))
    ids_BT = torch.zeros(len(prompts), T, dtype=torch.long)
    is_token_BT = torch.zeros(len(prompts), T, dtype=torch.bool)
    for row, (prompt, ids) in enumerate(zip(prompts, completions)):
        ids_BT[row, : len(prompt) + len(ids)] = torch.tensor(prompt + ids)
        is_token_BT[row, len(prompt) : len(prompt) + len(ids)] = True
    return ids_BT, is_token_BT


def preference_accuracy(world: World, reward_model: Path, pairs: int) -> float:
    """Return how often the reward model prefers the better of two answers to a test question."""
    rows = list(itertools.islice(preference_pairs(world, "test", seed=1), pairs))
    model = RewardModel(reward_model)
    prompts = [pair.question.prompt for pair in rows]
    better = model.score(prompts, [pair.better for pair in rows])
    worse = model.score(prompts, [pair.worse for pair in rows])
    return float(np.mean([a > b for a, b in zip(better, worse)]))


def share_of_texts(texts: Sequence[str], holds: Callable[[str], bool]) -> float:
    """Return the share of texts for which a predicate holds."""
    return sum(map(holds, texts)) / len(texts)


def all_questions(world: World, names: Sequence[str], split: Split, n: int) -> Iterator[Question]:
    """Yield the first n questions of each task."""
    for name in names:
        yield from select_questions(world, name, split, n)
