"""Algorithm 1 on TRL's GRPO: two methods overridden, every default that changes the algorithm given.

After generation the policy's own log-probability of each completion is kept for the reward, and the rewards
become z-scores of their group before TRL sums them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad

from repro.calibration.advantages import flat_share, group_z
from repro.calibration.config import CalibrationConfig
from repro.calibration.one_forward import OneForward
from repro.calibration.reward import TargetScorer, calibration_reward
from repro.models.loading import template_arguments
from repro.tasks import Item
from repro.training.buckets import BucketedSteps, TokenMeans

TaskReward = Callable[[list[Item], list[str]], list[float]]

FIGURES = {
    "step": "step",
    "loss": "loss",
    "calibration/task_reward": "task_reward",
    "calibration/r_cal": "r_cal",
    "calibration/r_cal_std": "r_cal_std",
    "calibration/target_log_prob": "target_log_prob",
    "calibration/policy_log_prob": "policy_log_prob",
    "kl": "kl",
    "calibration/task_reward_flat_groups": "task_reward_flat_groups",
    "calibration/r_cal_flat_groups": "r_cal_flat_groups",
    "calibration/task_reward_length_correlation": "task_reward_length_correlation",
    "calibration/r_cal_length_correlation": "r_cal_length_correlation",
    "completions/mean_length": "length",
    "completions/max_length": "length_max",
    "calibration/stopped_by_eos": "stopped_by_eos",
    "calibration/stopped_by_length": "stopped_by_length",
    "calibration/empty": "empty",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_ratio",
    "sampling/sampling_logp_difference/mean": "vllm_log_prob_gap",
    "sampling/importance_sampling_ratio/mean": "vllm_importance_ratio",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""The trainer's names of what history.jsonl holds, and ours. Log-probabilities and r_cal in nats per
sequence, kl and entropy in nats per token, lengths in tokens; flat groups, stops and empty are shares."""


class CalibrationTrainer(BucketedSteps, TokenMeans, OneForward, GRPOTrainer):
    """GRPOTrainer with r_cal beside the task's reward.

    Args:
        items: what the data set's "item" column counts.
        task_reward: items and texts (decoded, without control tokens) to rewards.
        target: scores completions under the calibration target p_C.
        config: Algorithm 1's settings.
        kwargs: what GRPOTrainer takes, without reward functions.
    """

    def __init__(
        self,
        *,
        items: Sequence[Item],
        task_reward: TaskReward,
        target: TargetScorer,
        config: CalibrationConfig,
        **kwargs: Any,
    ) -> None:
        self.items, self.task_reward, self.target, self.calibration = items, task_reward, target, config
        super().__init__(reward_funcs=[self._task, self._calibration], **kwargs)

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        out = super()._generate(prompts)
        prompt_ids, completion_ids, extra = out[0], out[1], out[5]
        self._forward: torch.Tensor | None = None
        self._wait_for_forward = self.use_vllm and self.vllm_importance_sampling_correction
        if not self._wait_for_forward:
            extra["policy_log_prob"] = self._score(prompt_ids, completion_ids).tolist()
        return out

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """With vLLM, TRL scores the completions by the policy's forward right after they are drawn, to weigh its steps:
        p_phi's term of r_cal is the sum of just these, so no second forward is made."""
        found = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if getattr(self, "_wait_for_forward", False):
            self._forward, self._wait_for_forward = found[0].detach(), False
        return found

    @torch.no_grad()
    def _score(self, prompt_ids: list[list[int]], completion_ids: list[list[int]]) -> torch.Tensor:
        """log p_phi of the sampled ids, [n] float64, nats per sequence.

        Always by the trainer's own forward: vLLM's log-probabilities come from other kernels and another
        precision, and over thousands of tokens the gap would be part of r_cal.
        """
        fill = self._tokenizer.pad_token_id
        prompts = [torch.tensor(ids) for ids in prompt_ids]
        completions = [torch.tensor(ids, dtype=torch.long) for ids in completion_ids]
        ids_BT = torch.cat([pad(prompts, fill, "left"), pad(completions, fill, "right")], 1)
        mask_BC = pad([torch.ones_like(ids) for ids in completions], 0, "right")
        mask_BT = torch.cat([pad([torch.ones_like(ids) for ids in prompts], 0, "left"), mask_BC], 1)
        ids_BT, mask_BT = (one.to(self.accelerator.device) for one in (ids_BT, mask_BT))
        if self.can_score_ahead():
            logp_BC = self.score_ahead(ids_BT, mask_BT, mask_BC.shape[1])
        else:
            logp_BC, _, _ = self._get_per_token_logps_and_entropies(
                self.model, ids_BT, mask_BT, mask_BC.shape[1], batch_size=self.args.per_device_train_batch_size
            )
        return (logp_BC.double().cpu() * mask_BC).sum(1)

    def _task(self, completion_ids: list[list[int]], item: list[int], **kwargs: Any) -> list[float]:
        texts = self._tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        return self.task_reward([self.items[i] for i in item], texts)

    def _calibration(
        self,
        completion_ids: list[list[int]],
        item: list[int],
        policy_log_prob: list[float] | None = None,
        **kwargs: Any,
    ) -> list[float]:
        prompts = [self.items[i].prompt for i in item]
        scores = self.target(prompts, completion_ids, self.eos_token_ids)
        length_n = torch.tensor([len(ids) for ids in completion_ids])
        if policy_log_prob is None:
            assert self._forward is not None
            drawn_BC = torch.arange(self._forward.shape[1]) < length_n[:, None]
            policy_n = (self._forward.double().cpu() * drawn_BC).sum(1)
        else:
            policy_n = torch.tensor(policy_log_prob, dtype=torch.float64)
        self._rollouts = torch.stack([scores.log_prob, policy_n, length_n.double(), *self._ends(completion_ids)], 1)
        if self.calibration.length_normalised:
            return calibration_reward(
                scores.log_prob / scores.tokens.clamp(min=1), policy_n / length_n.clamp(min=1)
            ).tolist()
        return calibration_reward(scores.log_prob, policy_n).tolist()

    def _ends(self, completion_ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """[n] stopped by its own end token, [n] nothing before it."""
        ended = [bool(ids) and ids[-1] in self.eos_token_ids for ids in completion_ids]
        empty = [len(ids) == int(end) for ids, end in zip(completion_ids, ended)]
        return torch.tensor(ended, dtype=torch.float64), torch.tensor(empty, dtype=torch.float64)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """[n, 2] over all ranks: z(r_task), z(r_cal); TRL sums them with weights (1, eta): Algorithm 1's A.

        With advantages = "batch" the raw rewards: TRL's normalize_then_sum takes the same z-scores and then
        renormalises their sum.
        """
        raw_nK = super()._calculate_rewards(*args, **kwargs)
        if not torch.isfinite(raw_nK).all():
            raise RuntimeError(f"a reward is not finite (task, calibration): {raw_nK[~raw_nK.isfinite().all(1)][0]}")
        G = self.num_generations if self.model.training else self.num_generations_eval
        self._log_rewards(raw_nK, G)
        if self.calibration.advantages == "batch":
            return raw_nK
        return torch.stack([group_z(raw_nK[:, 0], G), group_z(raw_nK[:, 1], G)], 1).to(raw_nK.dtype)

    def _log_rewards(self, raw_nK: torch.Tensor, group_size: int) -> None:
        logs = self._metrics["train" if self.model.training else "eval"]
        rollouts = self.accelerator.gather(self._rollouts.to(raw_nK.device, torch.float32))
        target_n, policy_n, length_n, ended_n, empty_n = rollouts.unbind(1)
        figures = {
            "target_log_prob": target_n.mean(),
            "policy_log_prob": policy_n.mean(),
            "stopped_by_eos": ended_n.mean(),
            "stopped_by_length": 1 - ended_n.mean(),
            "empty": empty_n.mean(),
            "r_cal_std": raw_nK[:, 1].std(),
        }
        for column, name in enumerate(("task_reward", "r_cal")):
            reward_n = raw_nK[:, column]
            figures[name] = reward_n.mean()
            figures[f"{name}_flat_groups"] = flat_share(reward_n, group_size)
            figures[f"{name}_length_correlation"] = torch.corrcoef(torch.stack([reward_n, length_n]))[0, 1]
        for name, value in figures.items():
            logs[f"calibration/{name}"].append(float(value))


def grpo_config(config: CalibrationConfig, engine: dict[str, Any], shared: dict[str, Any]) -> GRPOConfig:
    """Every choice that TRL would otherwise make by default, and that changes the algorithm.

    Args:
        engine: arguments of the generation engine.
        shared: `optimisation.trainer_arguments`.
    """
    aggregation = "sum_then_normalize" if config.advantages == "group" else "normalize_then_sum"
    return GRPOConfig(
        **shared,
        **engine,
        num_generations=config.group_size,
        max_completion_length=config.max_completion_tokens,
        chat_template_kwargs=template_arguments(config.reasoning),
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        beta=config.kl_beta,
        use_bias_correction_kl=False,  # the plain k3 estimate, as when the paper was written
        loss_type=config.loss_type,
        num_iterations=1,
        epsilon=0.2,
        importance_sampling_level="token",
        mask_truncated_completions=False,
        reward_weights=[1.0, config.eta],
        multi_objective_aggregation=aggregation,
        scale_rewards="none",
        disable_dropout=True,
        shuffle_dataset=False,  # the rows lie in training order
    )
