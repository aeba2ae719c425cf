"""The summary of one stage on the terminal: every figure with what it is and its unit. The file itself stays JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from repro.report.terminal import text_table
from repro.tables.metric_names import metric_name
from repro.training.history import tail_mean

PER_TASK = {
    "unparsed": "unparsed: no answer found, share",
    "truncated": "truncated: cut at the token cap, share",
    "repeating": "repeating: ends in a loop, share",
    "empty": "empty, share",
    "items": "items",
    "completions_per_item": "completions per item",
    "mean_tokens": "tokens per completion",
    "tokens": "tokens in all",
}
"""Figures of an evaluation or grading, beside its metrics (`tables.metric_names`)."""
COUNTS = {
    "steps": "optimizer steps",
    "prompts": "prompts",
    "traces": "teacher's completions at hand",
    "traces_without_end": "of those trained on, without an end token",
    "rows_without_end": "training rows without an end token, share",
    "tokens_without_end": "tokens in rows without an end token, share",
    "reasoning_tokens": "tokens of reasoning in the training rows, share",
    "parameters": "trained parameters",
    "teacher_vocabulary": "teacher's vocabulary, tokens",
    "student_vocabulary": "student's vocabulary, tokens",
    "compared_vocabulary": "tokens that both have and the loss compares",
    "completions": "completions",
    "tokens": "tokens of the completions",
    "truncated": "cut at the token cap, share",
    "holdout": "completions of the holdout",
    "gradient_norm": "norm of the holdout's gradient",
    "value_mean": "mean value of a completion, nats per token and unit of the gradient",
    "value_spread": "standard deviation of the values, in their unit",
    "largest_weight": "largest weight of a completion, mean 1",
    "effective": "effective share of the completions after weighting",
    "bf16_kept": "update that bfloat16 keeps, 1 for all",
    "bf16_erased": "weights whose update bfloat16 rounds away, share",
    "bf16_kl": "KL of the model to its bfloat16 copy, nats per token",
    "calibration_kl": "KL of the calibrated teacher to the one before, nats per token",
}
LOGGED = {
    "loss": "loss, nats per token",
    "nll": "negative log-likelihood, nats per token",
    "proxy_kl": "KL to the proxy, nats per token of reasoning",
    "token_accuracy": "teacher's tokens that the student ranks first, share",
    "accuracy": "right completions in training, share",
    "open_reward": "mean reward of open-ended completions",
    "task_reward": "task reward r_task",
    "r_cal": "calibration reward r_cal, nats per completion (with length_normalised: per token)",
    "r_cal_std": "standard deviation of r_cal, in its unit",
    "control_reward": "reward that replaces r_cal",
    "control_reward_std": "standard deviation of the reward that replaces r_cal",
    "target_log_prob": "log-likelihood under the target, nats per completion",
    "policy_log_prob": "log-likelihood under the teacher, nats per completion",
    "kl": "KL to the teacher before, nats per token",
    "task_reward_flat_groups": "groups whose task rewards are all equal (no signal), share",
    "r_cal_flat_groups": "groups whose r_cal are all equal, share",
    "control_reward_flat_groups": "groups whose rewards that replace r_cal are all equal, share",
    "task_reward_length_correlation": "correlation of task reward and length",
    "r_cal_length_correlation": "correlation of r_cal and length",
    "control_reward_length_correlation": "correlation of the reward that replaces r_cal and length",
    "length": "tokens per completion",
    "length_max": "tokens of the longest completion",
    "stopped_by_eos": "ended with an end token, share",
    "stopped_by_length": "cut at the token cap, share",
    "empty": "empty, share",
    "repeated": "ends in a loop, share",
    "entropy": "entropy of the trained model, nats per token",
    "clip_ratio": "tokens clipped by GRPO, share",
    "vllm_log_prob_gap": "gap between vLLM's and the trainer's log-probabilities, nats per token",
    "vllm_importance_ratio": "mean importance ratio of trainer and vLLM",
    "grad_norm": "norm of the gradient",
    "learning_rate": "learning rate, after its decay",
}
"""Figures of the training's log (`history.jsonl`); a summary has their mean over the last tenth of the steps."""
OF_CALIBRATION = {"loss": "loss, the objective of GRPO"}
"""Figures with a different meaning in a calibration."""


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print a stage's summary: a table of its tasks, its counts, the last figures of its training, and what is no single number.

    Warnings are not printed (`repro.stages.artifact.find_warnings`): a run prints them itself.
    """
    tasks = {name: value for name, value in summary.items() if _is_task(value)}
    rest = {name: value for name, value in summary.items() if name not in tasks}
    if tasks:
        console.print(text_table(list(_task_rows(tasks)), ""))
    words = LOGGED | OF_CALIBRATION if "task_reward" in rest else LOGGED
    is_training = "steps" in rest and "loss" in rest
    logged = {name: rest[name] for name in words if is_training and name in rest}
    counts = {name: value for name, value in rest.items() if name not in logged and not _is_note(name, value)}
    if counts:
        console.print(text_table([_row(COUNTS.get(name, name), value) for name, value in counts.items()], ""))
    if logged:
        title = "\nMeans over the last tenth of the steps"
        console.print(text_table([_row(words[name], value) for name, value in logged.items()], title))
    for note in _notes(rest):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def describe_calibration(history: Sequence[Mapping[str, Any]], eta: float = 0.0) -> str | None:
    """Say how a calibration's rewards moved from the first to the last tenth of its steps; None for other training.

    Args:
        history: its logged steps.
        eta: what r_cal was weighted with; 0 if r_cal was no reward of this training, so that it may move either way.
    """
    parts, advice = [], ""
    for name, words in (
        ("task_reward", "task reward"),
        ("r_cal", "r_cal (nats)"),
        ("control_reward", "control reward"),
    ):
        first, last = tail_mean(history[::-1], name), tail_mean(history, name)
        if first is not None and last is not None:
            parts.append(f"{words} {first:.3f} to {last:.3f}")
            if name == "r_cal" and eta * (last - first) < 0:
                wanted, seen = ("higher", "fell") if eta > 0 else ("lower", "rose")
                advice = f". Eta {eta:+g} rewards a {wanted} r_cal, and it {seen}: see each step in history.jsonl"
    if len(parts) < 2:
        return None
    return f"From the first tenth of the steps to the last: {', '.join(parts)}{advice}"


def _is_task(value: Any) -> bool:
    return isinstance(value, Mapping) and "completions_per_item" in value


def _is_note(name: str, value: Any) -> bool:
    return isinstance(value, Mapping | list) or name == "alarm"


def _task_rows(tasks: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    for name in dict.fromkeys(name for figures in tasks.values() for name in figures):
        words = PER_TASK.get(name) or metric_name(name)
        yield {"": words, **{task: _number(figures.get(name, "-")) for task, figures in tasks.items()}}


def _row(words: str, value: Any) -> dict[str, str]:
    return {"figure": words, "value": _number(value)}


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def _notes(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is no single number and no warning: items by task, groups of figures, and how long a list is."""
    for name, value in summary.items():
        if name == "items":
            yield f"Rows to draw from: {', '.join(f'{task} {count:,}' for task, count in value.items())}"
        elif isinstance(value, list):
            yield f"{name}: {len(value):,} lines, in summary.json"
        elif isinstance(value, Mapping) and name not in ("sampler", "warnings", "skipped_rows"):
            yield f"{name}: {json.dumps(value)}"
