"""GKD-RKL: token KL(p_S||p_T) on the student's own completions; the loss is `losses.reverse_kl`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from trl import DistillationConfig as TrlDistillationConfig

from repro.distillation.config import DistillationConfig
from repro.distillation.divergence_trainer import DivergenceTrainer
from repro.distillation.losses import TRL_BETA
from repro.evaluation.repetition import has_repeated_span
from repro.generation.mismatch import COMPARED_COMPLETIONS, compare_log_probs
from repro.models.scoring import token_log_probs
from repro.models.template_date import template_arguments
from repro.tasks.task import Item, RewardFunction

HISTORY_NAMES = {
    "step": "step",
    "loss": "loss",
    "distillation/accuracy": "accuracy",
    "distillation/open_reward": "open_reward",
    "completions/mean_length": "length",
    "completions/max_length": "length_max",
    "distillation/stopped_by_eos": "stopped_by_eos",
    "distillation/stopped_by_length": "stopped_by_length",
    "distillation/empty": "empty",
    "distillation/repeated": "repeated",
    "distillation/vllm_log_prob_gap": "vllm_log_prob_gap",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""Maps names in the trainer's log to names in history.jsonl. loss: the divergence, nats per token of the step; entropy:
the student's, nats per token; lengths in tokens; accuracy: share of right answers among the student's training
completions for verifiable tasks; open_reward: mean score on open-ended tasks, if a reward model scores them."""


class OnPolicyTrainer(DivergenceTrainer):
    """TRL's DistillationTrainer that also logs the accuracy of the student's training completions.

    Args:
        items: the training items; the dataset's "item" column holds indices into them.
        task_reward: maps items and texts to rewards, NaN for open-ended items without a reward model.
        kwargs: arguments of DistillationTrainer.
    """

    def __init__(self, *, items: Sequence[Item], task_reward: RewardFunction, **kwargs: Any) -> None:
        self.items, self.task_reward = items, task_reward
        super().__init__(**kwargs)
        if self.use_vllm:
            self._record_sampler()

    def _record_sampler(self) -> None:
        """Keep vLLM's log-probabilities of the sampled tokens, which TRL discards, for comparison."""
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(self.accelerator.unwrap_model(self.model))
        generate, self.vllm_generation.logprobs = self.vllm_generation.generate, 0

        def generate_and_record(*args: Any, **kwargs: Any) -> Any:
            output = generate(*args, **kwargs)
            self._sampled = tuple(part[:COMPARED_COMPLETIONS] for part in output[:3])
            return output

        self.vllm_generation.generate = generate_and_record

    def _sampler_gap(self) -> float:
        """Compare the sampler's log-probabilities with this trainer's forward pass, on a few of the completions."""
        prompt_ids, completion_ids, log_probs = self._sampled
        model = self.accelerator.unwrap_model(self.model)
        trainer = token_log_probs(model, list(map(list, prompt_ids)), list(map(list, completion_ids)), batch_size=1)
        sampler = [[math.nan if step[0] is None else step[0] for step in steps] for steps in log_probs]
        return float(compare_log_probs(sampler, trainer)["gap"])

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        masks = output["completion_mask"].bool()
        completions = [ids[mask].tolist() for ids, mask in zip(output["completion_ids"], masks)]
        texts = self._tokenizer.batch_decode(completions, skip_special_tokens=True)
        rewards = self.task_reward([self.items[row["item"]] for row in inputs], texts)
        ended = [ids[-1] in self.eos_token_ids for ids in completions]
        empty = [len(ids) == int(end) for ids, end in zip(completions, ended)]
        repeated = [has_repeated_span(ids) for ids in completions]
        verifiable = [self.items[row["item"]].key is not None for row in inputs]
        columns_nC = torch.tensor(
            list(zip(rewards, verifiable, ended, empty, repeated)),
            dtype=torch.float32,
            device=self.accelerator.device,
        )
        columns_nC = self.accelerator.gather(columns_nC)
        ended_share, empty_share, repeated_share = columns_nC[:, 2:].mean(0).tolist()
        if self.loss is not None and "rewards" in self.loss.reads:
            graded = [reward if known else math.nan for reward, known in zip(rewards, verifiable)]
            output["rewards"] = torch.tensor(graded, dtype=torch.float32, device=self.accelerator.device)
        logs = self._metrics["train" if self.model.training else "eval"]
        for name, value in _mean_rewards(columns_nC[:, 0], columns_nC[:, 1] == 1).items():
            logs[f"distillation/{name}"].append(value)
        logs["distillation/stopped_by_eos"].append(ended_share)
        logs["distillation/stopped_by_length"].append(1 - ended_share)
        logs["distillation/empty"].append(empty_share)
        logs["distillation/repeated"].append(repeated_share)
        if self.use_vllm:
            logs["distillation/vllm_log_prob_gap"].append(self._sampler_gap())
        return output


def _mean_rewards(rewards_n: torch.Tensor, verifiable_n: torch.Tensor) -> dict[str, float]:
    """Return accuracy and open_reward as separate means; a metric without completions, or without scores, is omitted.

    Args:
        rewards_n: [n], NaN for unscored open-ended items.
        verifiable_n: [n] bool.
    """
    parts = {"accuracy": rewards_n[verifiable_n], "open_reward": rewards_n[~verifiable_n]}
    return {name: part.mean().item() for name, part in parts.items() if len(part) and not part.isnan().any()}


def divergence_config(
    config: DistillationConfig, engine: dict[str, Any], shared: dict[str, Any]
) -> TrlDistillationConfig:
    """Return TRL's settings for the GKD losses (`losses`): the full vocabulary, at temperature 1.

    Args:
        engine: arguments of the generation engine.
        shared: `optimisation.trainer_arguments`.
    """
    return TrlDistillationConfig(
        **shared,
        **engine,
        beta=TRL_BETA[config.method],
        max_completion_length=config.max_completion_tokens,
        chat_template_kwargs=template_arguments(config.reasoning),
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        disable_dropout=True,
        shuffle_dataset=False,  # rows are already in training order
    )
