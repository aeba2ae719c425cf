"""Diagnose a student and a teacher: score both policies' completions, store every rollout, summarise."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from repro.diagnosis.blocks import block_values, curve_rows
from repro.diagnosis.columns import Policy, select_columns, write_measurements
from repro.diagnosis.completions import check_completions
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.files import CONTRIBUTIONS, MEASUREMENTS, PER_BLOCK, PER_PROMPT, TOKENS
from repro.diagnosis.forks import ForkingTokens
from repro.diagnosis.frequency import Frequencies
from repro.diagnosis.measure import COLUMNS, GRADIENTS, measure_share, stored_contributions
from repro.diagnosis.panel import panel, plain
from repro.diagnosis.parts import DiagnosisInput, Part
from repro.diagnosis.per_prompt import per_prompt_values, write_per_prompt
from repro.diagnosis.sequence_level import LEFT_OUT
from repro.generation.rollouts import Rollout
from repro.models.loading import load_tokenizer
from repro.models.positions import check_length
from repro.progress import Progress
from repro.tasks import registry
from repro.tasks.completion_grading import grade_completion


def diagnose(
    config: DiagnosisConfig, source: DiagnosisInput, *, seed: int, out: Path, work: Path, progress: Progress
) -> dict[str, Any]:
    """Measure, and write results per rollout, per prompt, per block of prompts, and per vocabulary token.

    Args:
        seed: seed of the bootstrap.
        out: receives the files of `repro.diagnosis.files`.
        work: parts already measured, by this process or by others that took a share (`measure_share`).

    Raises:
        InputError: NaN logits, no tokens at all, a single completion or prompt, completions from another tokenizer, or
            one that exceeds a model's context length.
    """
    for policy, policy_rollouts in source.rollouts.items():
        check_completions(policy_rollouts, f"{policy} {source.model(policy)}")
        for model in () if source.across_tokenizers else (source.student, source.teacher):
            check_length(model, policy_rollouts.longest, 0, f"the longest prompt with its completion by the {policy}")
    parts = measure_share(config, source, work=work, progress=progress)
    keys = {(item.task, item.id): item.key for item in source.items}
    ks: tuple[int, ...] = ()
    frequencies: dict[str, Frequencies] = {}
    if source.across_tokenizers:
        rows = [row for policy in source.rollouts for row in _sequence_rows(source, policy, parts, keys)]
    else:
        rows, frequencies, ks = _token_rows(source, parts, keys, config, out)
        tokens = sorted({int(i) for task_frequencies in frequencies.values() for i in task_frequencies.ids})
        texts = load_tokenizer(source.student).batch_decode([[i] for i in tokens])
        (out / TOKENS).write_text(json.dumps(dict(zip(map(str, tokens), texts))))
        save_file(_arrays(frequencies), out / CONTRIBUTIONS, {"ks": ",".join(map(str, ks))})
    write_measurements(out / MEASUREMENTS, rows)
    tasks = list(dict.fromkeys(item.task for item in source.items))
    all_columns = [select_columns(rows, policy, task) for policy in source.rollouts for task in tasks]
    measures = [measure for columns in all_columns for measure in per_prompt_values(columns, ks)]
    write_per_prompt(out / PER_PROMPT, [measure for measure in measures if measure.is_usable])
    write_per_prompt(
        out / PER_BLOCK,
        [
            measure
            for task, task_frequencies in frequencies.items()
            for measure in block_values(task, task_frequencies, config.tail_k)
        ],
    )
    undecided = sum(row["undecided"] for row in rows)
    return {
        **({"undecided": undecided} if undecided else {}),
        "ks": list(ks),
        "left_out": list(LEFT_OUT) if source.across_tokenizers else [],
        "not_finite": [f"{measure.metric} on {measure.task}" for measure in measures if not measure.is_usable],
        "panel": [row for columns in all_columns for row in panel(columns, ks, resamples=config.resamples, seed=seed)],
        "frequency": [
            row for task, task_frequencies in frequencies.items() for row in curve_rows(task, task_frequencies)
        ],
        "tail_k": config.tail_k,
        "gradient_variance": [row for part in parts if part.kind == "gradients" for row in _gradient_rows(part)],
        "gradient_tokens": config.gradient_tokens,
    }


def _token_rows(
    source: DiagnosisInput,
    parts: Sequence[Part],
    keys: dict[tuple[str, str], str | None],
    config: DiagnosisConfig,
    out: Path,
) -> tuple[list[dict[str, Any]], dict[str, Frequencies], tuple[int, ...]]:
    """Return a row per completion, by task; Eq 4 per task on the student's completions; and the values of K."""
    rows: list[dict[str, Any]] = []
    frequencies: dict[str, Frequencies] = {}
    ks: tuple[int, ...] = ()
    for policy, policy_rollouts in source.rollouts.items():
        stream = policy_rollouts.stream(policy_rollouts.prompts())
        for task in policy_rollouts.rows:
            start, contributions = len(rows), []
            with ForkingTokens(out) as forks:
                for part in (part for part in parts if (part.kind, part.policy, part.task) == ("block", policy, task)):
                    block, end = part.read(), 0
                    for n, rollout in enumerate(islice(stream, len(part.rows))):
                        measured = {name: block[name][n].tolist() for name in COLUMNS}
                        rows.append(_common(source, policy, rollout, keys) | measured)
                        tokens = slice(end, end := end + len(rollout.token_ids))
                        forks.add(*(torch.from_numpy(block[name][tokens]) for name in ("entropy_N", "rkl_N")))
                    if (contribution := stored_contributions(block)) is not None:
                        contributions.append(contribution)
                    ks = tuple(block["ks"].tolist())
                fork_counts = forks.sum_each(forks.threshold(config.fork_quantile))
                for row, (count, kl) in zip(rows[start:], fork_counts, strict=True):
                    row |= {"fork_tokens": count, "fork_rkl": kl}
            if contributions:
                frequencies[task] = Frequencies.of_blocks(contributions)
    return rows, frequencies, ks


def _sequence_rows(
    source: DiagnosisInput, policy: Policy, parts: Sequence[Part], keys: dict[tuple[str, str], str | None]
) -> list[dict[str, Any]]:
    """Return a row per completion with the log-probability of its text under each model."""
    student, teacher = (
        np.concatenate([p.read()["log_prob"] for p in parts if (p.policy, p.scored_by) == (policy, role)])
        for role in ("student", "teacher")
    )
    rollouts = source.rollouts[policy]
    return [
        _common(source, policy, rollout, keys) | {"student_log_prob": float(s), "teacher_log_prob": float(t)}
        for rollout, s, t in zip(rollouts.stream(rollouts.prompts()), student, teacher, strict=True)
    ]


def _common(
    source: DiagnosisInput, policy: Policy, rollout: Rollout, keys: dict[tuple[str, str], str | None]
) -> dict[str, Any]:
    kind = registry.kind_of(rollout.task)
    key, opens_in_thought = keys[rollout.task, rollout.item_id], policy in source.in_thought
    result = grade_completion(rollout.task, kind, rollout.text, key, rollout.prompt, opens_in_thought=opens_in_thought)
    return {
        "policy": policy,
        "task": rollout.task,
        "item_id": rollout.item_id,
        "sample": rollout.sample,
        "tokens": len(rollout.token_ids),
        "correct": None if kind == "open" else result.correct,
        "answered": None if kind == "open" else result.answer is not None,
        "undecided": result.is_undecided,
        "sampled_log_prob": float(sum(rollout.log_probs)),
    }


def _gradient_rows(part: Part) -> list[dict[str, Any]]:
    """Return a prompt's gradient variances by name; empty if fewer than two completions have tokens."""
    variance = part.read()["variance"].tolist()
    names = dict(zip(GRADIENTS, map(plain, variance)))
    return [{"task": part.task, "item": part.item, **names}] if variance else []


def _arrays(frequencies: dict[str, Frequencies]) -> dict[str, np.ndarray]:
    return {
        f"{task}/{name}": np.ascontiguousarray(getattr(task_frequencies, name))
        for task, task_frequencies in frequencies.items()
        for name in ("ids", "sums", "counts", "realised", "realised_kl")
    }
