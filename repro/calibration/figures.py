"""Metrics logged at each calibration step: rewards, their spread, and how completions ended."""

from collections.abc import Collection, Sequence

import torch

from repro.calibration.advantages import flat_share
from repro.evaluation.repetition import has_repeated_span

HISTORY_NAMES = {
    "step": "step",
    "loss": "loss",
    "calibration/task_reward": "task_reward",
    "calibration/r_cal": "r_cal",
    "calibration/r_cal_std": "r_cal_std",
    "calibration/control_reward": "control_reward",
    "calibration/control_reward_std": "control_reward_std",
    "calibration/target_log_prob": "target_log_prob",
    "calibration/policy_log_prob": "policy_log_prob",
    "kl": "kl",
    "calibration/task_reward_flat_groups": "task_reward_flat_groups",
    "calibration/r_cal_flat_groups": "r_cal_flat_groups",
    "calibration/control_reward_flat_groups": "control_reward_flat_groups",
    "calibration/task_reward_length_correlation": "task_reward_length_correlation",
    "calibration/r_cal_length_correlation": "r_cal_length_correlation",
    "calibration/control_reward_length_correlation": "control_reward_length_correlation",
    "completions/mean_length": "length",
    "completions/max_length": "length_max",
    "calibration/stopped_by_eos": "stopped_by_eos",
    "calibration/stopped_by_length": "stopped_by_length",
    "calibration/empty": "empty",
    "calibration/repeated": "repeated",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_ratio",
    "sampling/sampling_logp_difference/mean": "vllm_log_prob_gap",
    "sampling/importance_sampling_ratio/mean": "vllm_importance_ratio",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
"""Names in the trainer's log to names in history.jsonl. Log-probabilities and r_cal in nats per sequence, kl and
entropy in nats per token, lengths in tokens; flat groups, stops, empty and repeated are shares."""


def completion_columns(
    target_n: torch.Tensor, policy_n: torch.Tensor, completion_ids: Sequence[list[int]], eos_ids: Collection[int]
) -> torch.Tensor:
    """Return the logged columns: log p_C, log p_phi, tokens, has an end token, is otherwise empty, has a loop.

    Args:
        target_n, policy_n: [n] float64, nats.
        completion_ids: n sampled completions.
        eos_ids: every id that ends a completion.

    Returns:
        [n, 6] float64.
    """
    ended = [bool(ids) and ids[-1] in eos_ids for ids in completion_ids]
    empty = [len(ids) == int(end) for ids, end in zip(completion_ids, ended)]
    repeated = [has_repeated_span(ids) for ids in completion_ids]
    lengths = [len(ids) for ids in completion_ids]
    counts = [torch.tensor(x, dtype=torch.float64) for x in (lengths, ended, empty, repeated)]
    return torch.stack([target_n, policy_n, *counts], 1)


def step_figures(
    reward_nK: torch.Tensor, columns_nC: torch.Tensor, group_size: int, weighted: str = "r_cal"
) -> dict[str, float]:
    """Compute the metrics of a step, keyed by their names in the trainer's log.

    Args:
        reward_nK: [n, 2] r_task and the reward that eta weighs, from all ranks.
        columns_nC: [n, 6] `completion_columns` from all ranks.
        group_size: G; groups are consecutive.
        weighted: the name of the second reward: "r_cal", or "control_reward".
    """
    target_n, policy_n, length_n, ended_n, empty_n, repeated_n = columns_nC.unbind(1)
    figures = {
        "target_log_prob": target_n.mean(),
        "policy_log_prob": policy_n.mean(),
        "stopped_by_eos": ended_n.mean(),
        "stopped_by_length": 1 - ended_n.mean(),
        "empty": empty_n.mean(),
        "repeated": repeated_n.mean(),
        f"{weighted}_std": reward_nK[:, 1].std(),
    }
    for name, reward_n in zip(("task_reward", weighted), reward_nK.unbind(1)):
        figures[name] = reward_n.mean()
        figures[f"{name}_flat_groups"] = flat_share(reward_n, group_size)
        figures[f"{name}_length_correlation"] = torch.corrcoef(torch.stack([reward_n, length_n]))[0, 1]
    return {f"calibration/{name}": float(value) for name, value in figures.items()}
