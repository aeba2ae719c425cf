"""Diagnosis of a student and a teacher: score both policies' completions, store every rollout, summarise."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from repro.diagnosis.columns import Policy, select_columns, write_measurements
from repro.diagnosis.completions import Completions, check_completions
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.files import CONTRIBUTIONS, MEASUREMENTS, PER_BLOCK, PER_PROMPT, TOKENS
from repro.diagnosis.forks import ForkingTokens
from repro.diagnosis.frequency import Frequencies
from repro.diagnosis.hidden import HiddenStates, batches
from repro.diagnosis.panel import LEVEL, panel, plain
from repro.diagnosis.per_prompt import PerPromptValues, per_prompt_values
from repro.diagnosis.sequence_level import LEFT_OUT, sequence_log_probs
from repro.diagnosis.token_level import Pair, TokenLevel
from repro.generation.rollouts import Rollout
from repro.progress import Progress
from repro.tasks import registry
from repro.tasks.grading import grade
from repro.tasks.task import Item


def diagnose(
    config: DiagnosisConfig,
    *,
    student: Path | str,
    teacher: Path | str,
    completions: dict[Policy, Path],
    items: list[Item],
    temperature: float,
    across_tokenizers: bool,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Measure, and write per rollout, per prompt, per block of prompts, and per token of the vocabulary.

    Args:
        completions: rollout files, "student" for on-policy, "teacher" for off-policy (may be left out).
        temperature: at which they were sampled.
        across_tokenizers: each model scores texts on its own tokens; what needs a shared vocabulary is left out.
        seed: of the bootstrap.

    Raises:
        InputError: NaN logits, no tokens at all, a single completion or prompt, or completions of another tokenizer.
    """
    rollouts = {policy: Completions.read(path) for policy, path in completions.items()}
    for policy, policy_rollouts in rollouts.items():
        check_completions(policy_rollouts, f"{policy} {student if policy == 'student' else teacher}")
    keys = {(item.task, item.id): item.key for item in items}
    ks: tuple[int, ...] = ()
    gradients: list[dict[str, Any]] = []
    frequencies: dict[str, Frequencies] = {}
    if across_tokenizers:
        rows = [
            row
            for policy, policy_rollouts in rollouts.items()
            for row in _sequence_rows(policy, policy_rollouts, keys, student, teacher)
        ]
    else:
        pair = Pair(HiddenStates(student, "student"), HiddenStates(teacher, "teacher"), config, temperature)
        ks = pair.ks
        rows, frequencies = _token_rows(pair, rollouts, keys, config, out, progress)
        gradients = _gradients(pair, rollouts["student"], config)
        tokens = sorted({int(i) for task_frequencies in frequencies.values() for i in task_frequencies.ids})
        texts = pair.student.tokenizer.batch_decode([[i] for i in tokens])
        (out / TOKENS).write_text(json.dumps(dict(zip(map(str, tokens), texts))))
        save_file(_arrays(frequencies), out / CONTRIBUTIONS, {"ks": ",".join(map(str, ks))})
    write_measurements(out / MEASUREMENTS, rows)
    tasks = list(dict.fromkeys(item.task for item in items))
    all_columns = [select_columns(rows, policy, task) for policy in rollouts for task in tasks]
    measures = [measure for columns in all_columns for measure in per_prompt_values(columns, ks)]
    write_per_prompt(out / PER_PROMPT, [measure for measure in measures if measure.is_usable])
    write_per_prompt(
        out / PER_BLOCK,
        [
            measure
            for task, task_frequencies in frequencies.items()
            for measure in _correlation_values(task, task_frequencies)
        ],
    )
    undecided = sum(row["undecided"] for row in rows)
    return {
        **({"undecided": undecided} if undecided else {}),
        "ks": list(ks),
        "left_out": list(LEFT_OUT) if across_tokenizers else [],
        "not_finite": [f"{measure.metric} on {measure.task}" for measure in measures if not measure.is_usable],
        "panel": [row for columns in all_columns for row in panel(columns, ks, resamples=config.resamples, seed=seed)],
        "frequency": [
            row for task, task_frequencies in frequencies.items() for row in _frequency_rows(task, task_frequencies)
        ],
        "gradient_variance": gradients,
        "gradient_tokens": config.gradient_tokens,
    }


def _frequency_rows(task: str, frequencies: Frequencies) -> list[dict[str, Any]]:
    """Return a row per K: the rank correlation of frequency and contribution, with its interval."""
    ks = frequencies.ks
    return [
        {
            "task": task,
            "k": k,
            "whole_vocabulary": k == ks[-1],
            "correlation": plain(interval.value),
            "low": plain(interval.low),
            "high": plain(interval.high),
            "tokens": int(points),
            "blocks": interval.prompts,
        }
        for k, interval, points in zip(ks, frequencies.intervals(LEVEL), frequencies.points())
    ]


def _token_rows(
    pair: Pair,
    completions: dict[Policy, Completions],
    keys: dict[tuple[str, str], str | None],
    config: DiagnosisConfig,
    out: Path,
    progress: Progress,
) -> tuple[list[dict[str, Any]], dict[str, Frequencies]]:
    """Return a row per completion, task by task, and Eq 4 per task on the student's completions."""
    rows: list[dict[str, Any]] = []
    frequencies: dict[str, Frequencies] = {}
    total = sum(map(len, completions.values()))
    for policy, policy_rollouts in completions.items():
        stream = policy_rollouts.stream(policy_rollouts.prompts())
        for task in policy_rollouts.rows:
            start, blocks = len(rows), []
            with ForkingTokens(out) as forks:
                for block in policy_rollouts.blocks(task, config.contribution_blocks):
                    contributions = pair.contributions() if policy == "student" else None
                    for batch in batches(islice(stream, len(block))):
                        progress(len(rows), total, "completions")
                        for rollout, measured in zip(batch, pair.measure(batch, contributions)):
                            rows.append(_row(policy, rollout, measured, keys))
                            forks.add(measured.entropy_T, measured.rkl_T)
                    if contributions is not None and any(row["tokens"] for row in rows[-len(block) :]):
                        blocks.append(contributions.result())
                fork_counts = forks.sum_each(forks.threshold(config.fork_quantile))
                for row, (tokens, kl) in zip(rows[start:], fork_counts, strict=True):
                    row |= {"fork_tokens": tokens, "fork_rkl": kl}
            if blocks:
                frequencies[task] = Frequencies.of_blocks(blocks)
    progress(total, total, "completions")
    return rows, frequencies


def _row(
    policy: Policy, rollout: Rollout, measured: TokenLevel, keys: dict[tuple[str, str], str | None]
) -> dict[str, Any]:
    names = "student_log_prob", "teacher_log_prob", "rkl", "fkl", "entropy_student", "entropy_teacher", "partial_rkl"
    return _common(policy, rollout, keys) | {name: getattr(measured, name) for name in names}


def _sequence_rows(
    policy: Policy,
    completions: Completions,
    keys: dict[tuple[str, str], str | None],
    student: Path | str,
    teacher: Path | str,
) -> list[dict[str, Any]]:
    """Return a row per completion; each model reads the file in turn, so that one is in memory at a time."""
    sampler = student if policy == "student" else teacher
    scores = [
        sequence_log_probs(completions.stream(completions.prompts()), sampler, model) for model in (student, teacher)
    ]
    return [
        _common(policy, rollout, keys) | {"student_log_prob": s, "teacher_log_prob": t}
        for rollout, s, t in zip(completions.stream(completions.prompts()), *scores, strict=True)
    ]


def _common(policy: Policy, rollout: Rollout, keys: dict[tuple[str, str], str | None]) -> dict[str, Any]:
    kind = registry.kind_of(rollout.task)
    result = grade(kind, rollout.text, keys[rollout.task, rollout.item_id])
    return {
        "policy": policy,
        "task": rollout.task,
        "item_id": rollout.item_id,
        "sample": rollout.sample,
        "tokens": len(rollout.token_ids),
        "correct": None if kind == "open" else result.correct,
        "undecided": result.is_undecided,
        "sampled_log_prob": float(sum(rollout.log_probs)),
    }


def _gradients(pair: Pair, completions: Completions, config: DiagnosisConfig) -> list[dict[str, Any]]:
    chosen = {
        (task, item): rows
        for task, prompts in completions.rows.items()
        for item, rows in islice(prompts.items(), config.gradient_prompts)
    }
    stream = completions.stream(chosen.values())
    variances = []
    for (task, item), rows in chosen.items():
        variance = pair.gradient_variance(list(islice(stream, len(rows))), config.gradient_tokens)
        if variance is not None:
            variances.append({"task": task, "item": item, **{k: plain(v) for k, v in variance.items()}})
    return variances


def _correlation_values(task: str, frequencies: Frequencies) -> list[PerPromptValues]:
    blocks = tuple(f"block-{n:03d}" for n in range(len(frequencies.sums)))
    ones = np.ones(len(blocks))
    names = [f"K={k}" for k in frequencies.ks[:-1]] + ["K=V"]
    measures = [
        PerPromptValues(task, name, blocks, column, ones) for name, column in zip(names, frequencies.influence().T)
    ]
    return [measure for measure in measures if measure.is_usable]


def _arrays(frequencies: dict[str, Frequencies]) -> dict[str, np.ndarray]:
    return {
        f"{task}/{name}": np.ascontiguousarray(getattr(task_frequencies, name))
        for task, task_frequencies in frequencies.items()
        for name in ("ids", "sums", "counts", "realised", "realised_kl")
    }


def write_per_prompt(path: Path, measures: list[PerPromptValues]) -> None:
    """Write a row per measure and prompt."""
    schema = pa.schema(
        [
            ("task", pa.string()),
            ("item", pa.string()),
            ("metric", pa.string()),
            ("value", pa.float64()),
            ("weight", pa.float64()),
        ]
    )
    pq.write_table(pa.Table.from_pylist([row for measure in measures for row in measure.rows()], schema=schema), path)
