"""GKD-RKL: the student writes, and learns the token KL(p_S||p_T) on that (Eq 2, p = p_S, q = p_T)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from trl import DistillationConfig as TrlDistillationConfig
from trl import DistillationTrainer

from repro.models import template_arguments
from repro.tasks import Item

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
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""The trainer's names of what history.jsonl holds, and ours. loss: the divergence, nats per token of
the whole step; entropy: the student's, nats per token; lengths in tokens; accuracy: mean task reward of the
student's own training completions."""


class OnPolicyTrainer(DistillationTrainer):
    """TRL's DistillationTrainer, which also says how good the student's training completions are.

    Args:
        items: what the data set's "item" column counts.
        task_reward: items and texts to rewards.
        kwargs: what DistillationTrainer takes.
    """

    def __init__(self, *, items: Sequence[Item], task_reward: TaskReward, **kwargs: Any) -> None:
        self.items, self.task_reward = items, task_reward
        super().__init__(**kwargs)

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
