"""GKD-RKL: the student writes, and learns the token KL(p_S||p_T) on that (Eq 2, p = p_S, q = p_T)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from trl import DistillationConfig as TrlDistillationConfig
from trl import DistillationTrainer

from repro.generation.mismatch import COMPARED_COMPLETIONS, compare_log_probs
from repro.models.loading import template_arguments
from repro.models.scoring import token_log_probs
from repro.tasks import Item
from repro.training.buckets import BucketedSteps, TokenMeans

TaskReward = Callable[[list[Item], list[str]], list[float]]

FIGURES = {
    "step": "step",
    "loss": "loss",
    "distillation/accuracy": "accuracy",
    "completions/mean_length": "length",
    "completions/max_length": "length_max",
    "distillation/stopped_by_eos": "stopped_by_eos",
    "distillation/stopped_by_length": "stopped_by_length",
    "distillation/empty": "empty",
    "distillation/vllm_log_prob_gap": "vllm_log_prob_gap",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""The trainer's names of what history.jsonl holds, and ours. loss: the divergence, nats per token of
the whole step; entropy: the student's, nats per token; lengths in tokens; accuracy: mean task reward of the
student's own training completions."""


class OnPolicyTrainer(BucketedSteps, TokenMeans, DistillationTrainer):
    """TRL's DistillationTrainer, which also says how good the student's training completions are.

    Args:
        items: what the data set's "item" column counts.
        task_reward: items and texts to rewards.
        kwargs: what DistillationTrainer takes.
    """

    def __init__(self, *, items: Sequence[Item], task_reward: TaskReward, **kwargs: Any) -> None:
        self.items, self.task_reward = items, task_reward
        super().__init__(**kwargs)
        if self.use_vllm:
            self._keep_log_probs()

    def _keep_log_probs(self) -> None:
        """TRL drops what vLLM says of the tokens that it drew; it is kept here, to be compared."""
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(self.accelerator.unwrap_model(self.model))
        generate, self.vllm_generation.logprobs = self.vllm_generation.generate, 0

        def keep(*args: Any, **kwargs: Any) -> Any:
            drawn = generate(*args, **kwargs)
            self._drawn = (
                drawn[0][:COMPARED_COMPLETIONS],
                drawn[1][:COMPARED_COMPLETIONS],
                drawn[2][:COMPARED_COMPLETIONS],
            )
            return drawn

        self.vllm_generation.generate = keep

    def _log_gap(self, logs: Any) -> None:
        """The sampler's log-probabilities against this trainer's forward, on a few completions of the step."""
        prompts, completions, drawn = self._drawn
        model = self.accelerator.unwrap_model(self.model)
        trainer = token_log_probs(model, [list(p) for p in prompts], [list(c) for c in completions], 1)
        sampler = [[math.nan if step[0] is None else step[0] for step in one] for one in drawn]
        logs["distillation/vllm_log_prob_gap"].append(compare_log_probs(sampler, trainer)["gap"])

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        masks = output["completion_mask"].bool()
        completions = [ids[mask].tolist() for ids, mask in zip(output["completion_ids"], masks)]
        texts = self._tokenizer.batch_decode(completions, skip_special_tokens=True)
        rewards = self.task_reward([self.items[x["item"]] for x in inputs], texts)
        ended = [ids[-1] in self.eos_token_ids for ids in completions]
        empty = [len(ids) == int(end) for ids, end in zip(completions, ended)]
        rows = torch.tensor(list(zip(rewards, ended, empty)), dtype=torch.float32, device=self.accelerator.device)
        accuracy, eos, nothing = self.accelerator.gather(rows).mean(0).tolist()
        logs = self._metrics["train" if self.model.training else "eval"]
        logs["distillation/accuracy"].append(accuracy)
        logs["distillation/stopped_by_eos"].append(eos)
        logs["distillation/stopped_by_length"].append(1 - eos)
        logs["distillation/empty"].append(nothing)
        if self.use_vllm:
            self._log_gap(logs)
        return output


def divergence_config(
    beta: float, max_completion_tokens: int, reasoning: bool, engine: dict[str, Any], shared: dict[str, Any]
) -> TrlDistillationConfig:
    """beta = 1: KL(p_S||p_T), beta = 0: KL(p_T||p_S), each over the full vocabulary at temperature 1; the
    loss is the sum over completion tokens / the tokens of the whole step.

    Args:
        engine: arguments of the generation engine.
        shared: `optimisation.trainer_arguments`.
    """
    return TrlDistillationConfig(
        **shared,
        **engine,
        beta=beta,
        max_completion_length=max_completion_tokens,
        chat_template_kwargs=template_arguments(reasoning),
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        disable_dropout=True,
        shuffle_dataset=False,  # the rows lie in training order
    )
