"""Algorithm 1 on TRL's GRPO: rewards, their z-scores within each group, the sum with eta, and a policy gradient step.

TRL generates, calls the two reward functions, passes their values to `_calculate_rewards` and takes the step with the
advantages it returns. `grpo_config` sets every TRL default that would otherwise change the algorithm.
"""

from collections.abc import Sequence
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer

from repro.calibration.advantages import group_advantages
from repro.calibration.config import CalibrationConfig
from repro.calibration.control_rewards import ControlReward
from repro.calibration.figures import completion_columns, step_figures
from repro.calibration.policy_log_prob import PolicyLogProb
from repro.calibration.reward import TargetScorer, calibration_reward
from repro.models.template_date import template_arguments
from repro.tasks.task import Item, RewardFunction
from repro.training.buckets import BucketedSteps, TokenMeans
from repro.training.prompts import RenderedPrompts
from repro.training.sampling import SamplesByDecoding


class CalibrationTrainer(RenderedPrompts, SamplesByDecoding, BucketedSteps, TokenMeans, PolicyLogProb, GRPOTrainer):
    """GRPOTrainer with the advantages of Algorithm 1.

    Args:
        items: the training items; the dataset's "item" column holds indices into them.
        task_reward: computes r_task from items and texts (decoded, without control tokens).
        target: scores completions under the calibration target p_C.
        config: Algorithm 1's settings.
        control_reward: the reward that replaces r_cal; None for r_cal.
        kwargs: arguments of GRPOTrainer, without reward functions.
    """

    def __init__(
        self,
        *,
        items: Sequence[Item],
        task_reward: RewardFunction,
        target: TargetScorer,
        config: CalibrationConfig,
        control_reward: ControlReward | None = None,
        **kwargs: Any,
    ) -> None:
        self.control_reward = control_reward
        self.items, self.task_reward, self.target, self.calibration = items, task_reward, target, config
        super().__init__(reward_funcs=[self._task_reward, self._calibration_reward], **kwargs)

    def _task_reward(self, completion_ids: list[list[int]], item: list[int], **kwargs: Any) -> list[float]:
        """r_task of this rank's completions."""
        texts = self._tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        return self.task_reward([self.items[i] for i in item], texts)

    def _calibration_reward(self, completion_ids: list[list[int]], item: list[int], **kwargs: Any) -> list[float]:
        """r_cal of this rank's completions (Eq 10; Eq 11 across tokenizers), or the control's reward."""
        target = self.target([self.items[i].prompt for i in item], completion_ids, self.eos_token_ids)
        target_n, policy_n = target.log_prob, self.policy_log_prob(completion_ids)
        self._columns = completion_columns(target_n, policy_n, completion_ids, self.eos_token_ids)
        if self.control_reward is not None:
            texts = self._tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
            rank = self.accelerator.process_index
            return self.control_reward(completion_ids, texts, step=self.state.global_step, rank=rank).tolist()
        if self.calibration.length_normalised:
            length_n = torch.tensor([len(ids) for ids in completion_ids])
            target_n, policy_n = target_n / target.tokens.clamp(min=1), policy_n / length_n.clamp(min=1)
        return calibration_reward(target_n, policy_n).tolist()

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return Algorithm 1's advantages for all ranks' completions, where TRL expects one column per reward.

        TRL sums the columns with weights (1, 0), subtracts the group mean, which is 0 up to rounding, and takes the
        step. The z-scores are rounded to the rewards' float32 before they are summed.

        With advantages = "batch" the rewards are returned unchanged: TRL's normalize_then_sum computes the same
        z-scores, sums them with weights (1, eta) and renormalises the sum over the batch.
        """
        reward_nK = super()._calculate_rewards(*args, **kwargs)
        if not reward_nK.isfinite().all():
            bad = reward_nK[~reward_nK.isfinite().all(1)][0]
            raise RuntimeError(f"a reward is not finite (task, calibration): {bad}")
        G = self.num_generations if self.model.training else self.num_generations_eval
        self._log_rewards(reward_nK, G)
        if self.calibration.advantages == "batch":
            return reward_nK
        task_n, r_cal_n = reward_nK.unbind(1)
        advantage_n = group_advantages(task_n, r_cal_n, self.calibration.eta, G, reward_nK.dtype)
        return torch.stack([advantage_n, torch.zeros_like(advantage_n)], 1)

    def _log_rewards(self, reward_nK: torch.Tensor, group_size: int) -> None:
        columns_nC = self.accelerator.gather(self._columns.to(reward_nK.device, torch.float32))
        logs = self._metrics["train" if self.model.training else "eval"]
        weighted = "r_cal" if self.control_reward is None else "control_reward"
        for name, value in step_figures(reward_nK, columns_nC, group_size, weighted).items():
            logs[name].append(value)


def grpo_config(config: CalibrationConfig, engine: dict[str, Any], shared: dict[str, Any]) -> GRPOConfig:
    """Return TRL's settings for Algorithm 1.

    Args:
        engine: arguments of the generation engine.
        shared: `optimisation.trainer_arguments`.
    """
    if config.advantages == "group":
        aggregation = {"multi_objective_aggregation": "sum_then_normalize", "reward_weights": [1.0, 0.0]}
    else:
        aggregation = {"multi_objective_aggregation": "normalize_then_sum", "reward_weights": [1.0, config.eta]}
    return GRPOConfig(
        **shared,
        **engine,
        **aggregation,
        num_generations=config.group_size,
        max_completion_length=config.max_completion_tokens,
        chat_template_kwargs=template_arguments(config.reasoning),
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        beta=config.kl_beta,
        use_bias_correction_kl=False,  # plain k3 estimate, TRL's behaviour when the paper was written
        loss_type=config.loss_type,
        num_iterations=1,
        epsilon=0.2,
        importance_sampling_level="token",
        mask_truncated_completions=False,
        scale_rewards="none",
        disable_dropout=True,
        shuffle_dataset=False,  # rows are already in training order
    )
