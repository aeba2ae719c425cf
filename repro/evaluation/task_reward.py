"""Task reward r_task: 1 or 0 for verifiable tasks, the reward model's score for open-ended ones."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import InputError
from repro.tasks import registry
from repro.tasks.grading import grade
from repro.tasks.task import Item

if TYPE_CHECKING:
    from repro.evaluation.reward_model import RewardModel

log = logging.getLogger(__name__)


class TaskReward:
    """Scores completions of items of any task; the reward model is loaded with the first open-ended item.

    Args:
        reward_model: folder or hub id; without it, an open-ended item is an error.
        skips_open: open-ended items get NaN instead.
    """

    def __init__(self, reward_model: Path | str | None, *, skips_open: bool = False) -> None:
        self._path = reward_model
        self._skips_open = skips_open
        self._model: RewardModel | None = None

    def __call__(self, items: list[Item], completions: list[str]) -> list[float]:
        """Return a reward in 0..1 per (item, completion).

        Raises:
            InputError: an open-ended item without a reward model.
        """
        kinds = {task: registry.kind_of(task) for task in {item.task for item in items}}
        grades = [grade(kinds[item.task], text, item.key) for item, text in zip(items, completions)]
        rewards = [float(result.correct) for result in grades]
        if undecided := sum(result.is_undecided for result in grades):
            log.warning("%d of %d completions could not be graded within the limits: reward 0", undecided, len(grades))
        open_rows = [row for row, item in enumerate(items) if kinds[item.task] == "open"]
        if open_rows and self._skips_open:
            scores = [math.nan] * len(open_rows)
        elif open_rows:
            scores = self._reward_model(items[open_rows[0]].task).score(
                [items[row].prompt for row in open_rows], [completions[row] for row in open_rows]
            )
        else:
            scores = []
        for row, score in zip(open_rows, scores):
            rewards[row] = score
        return rewards

    def _reward_model(self, task: str) -> "RewardModel":
        if self._model is None:
            if self._path is None:
                raise InputError(f"task {task} is open-ended: name a reward model (--reward-model)")
            from repro.evaluation.reward_model import RewardModel

            self._model = RewardModel(self._path)
        return self._model
