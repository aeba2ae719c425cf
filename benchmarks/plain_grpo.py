"""The calibration's trainer without its reward: what the reward costs is the difference."""

from typing import Any

from repro.calibration.grpo import CalibrationTrainer
from repro.calibration.policy_log_prob import PolicyLogProb


class WithoutReward(CalibrationTrainer):
    """The same trainer with r_cal left out: the task's reward twice, neither model scores anything."""

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        return super(PolicyLogProb, self)._generate(prompts)

    def _calibration_reward(self, completion_ids: list[list[int]], item: list[int], **kwargs: Any) -> list[float]:
        return self._task_reward(completion_ids, item)

    def _log_rewards(self, reward_nK: Any, group_size: int) -> None:
        pass
