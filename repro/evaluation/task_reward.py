"""Task reward r_task: 1 or 0 for verifiable tasks, the reward model's score for open-ended ones."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import InputError
from repro.tasks import registry
from repro.tasks.completion_grading import grade_completion
from repro.tasks.grading import Grade
from repro.tasks.task import Item, Kind
from repro.tasks.thoughts import has_unfinished_thought, visible_text

if TYPE_CHECKING:
    from repro.evaluation.reward_model import RewardModel

log = logging.getLogger(__name__)


class TaskReward:
    """Scores completions for items of any task; the reward model is loaded at the first open-ended item.

    Args:
        reward_model: folder or hub id; without it, open-ended items are an error.
        skips_open: open-ended items get NaN instead.
        opens_in_thought: the completions' prompts end within a thought (see `repro.tasks.thoughts`).
    """

    def __init__(
        self, reward_model: Path | str | None, *, skips_open: bool = False, opens_in_thought: bool = False
    ) -> None:
        self._path = reward_model
        self._skips_open = skips_open
        self._opens_in_thought = opens_in_thought
        self._model: RewardModel | None = None

    def __call__(self, items: list[Item], completions: list[str]) -> list[float]:
        """Return a reward in 0..1 per (item, completion); 0 for completions that end within a thought.

        The reward model reads only the text after the thoughts.

        Raises:
            InputError: an open-ended item without a reward model.
        """
        kinds = {task: registry.kind_of(task) for task in {item.task for item in items}}
        grades = [self._grade(kinds[item.task], item, text) for item, text in zip(items, completions)]
        rewards = [float(result.correct) for result in grades]
        if undecided := sum(result.is_undecided for result in grades):
            log.warning("%d of %d completions could not be graded within the limits: reward 0", undecided, len(grades))
        open_rows = [row for row, item in enumerate(items) if kinds[item.task] == "open"]
        if open_rows and self._skips_open:
            scores = [math.nan] * len(open_rows)
        elif open_rows:
            scores = self._score([items[row] for row in open_rows], [completions[row] for row in open_rows])
        else:
            scores = []
        for row, score in zip(open_rows, scores):
            rewards[row] = score
        return rewards

    def _grade(self, kind: Kind, item: Item, text: str) -> Grade:
        return grade_completion(item.task, kind, text, item.key, item.prompt, opens_in_thought=self._opens_in_thought)

    def _score(self, items: list[Item], completions: list[str]) -> list[float]:
        """Return the reward model's scores of the completions' visible text."""
        model = self._reward_model(items[0].task)
        opens = self._opens_in_thought
        ended = [not has_unfinished_thought(text, opens_in_thought=opens) for text in completions]
        visible = [visible_text(text, opens_in_thought=opens) for text in completions]
        prompts = [item.prompt for item in items]
        scores = iter(
            model.score(*([text for text, is_ended in zip(texts, ended) if is_ended] for texts in (prompts, visible)))
        )
        return [next(scores) if is_ended else 0.0 for is_ended in ended]

    def _reward_model(self, task: str) -> "RewardModel":
        if self._model is None:
            if self._path is None:
                raise InputError(f"task {task} is open-ended: name a reward model (--reward-model)")
            from repro.evaluation.reward_model import RewardModel

            self._model = RewardModel(self._path)
        return self._model
