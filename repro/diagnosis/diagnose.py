"""The diagnosis of one student and one teacher: score both policies' completions, keep every rollout, sum up."""

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
        temperature: at which they were drawn.
        across_tokenizers: each model scores texts on its own tokens; what needs a shared vocabulary is left out.
        seed: of the bootstrap.

    Raises:
        InputError: NaN logits, no tokens at all, a single completion or prompt, or completions of another tokenizer.
    """
    found = {policy: Completions.of(path) for policy, path in completions.items()}
    for policy, own in found.items():
        check_completions(own, f"{policy} {student if policy == 'student' else teacher}")
    keys = {(item.task, item.id): item.key for item in items}
    ks: tuple[int, ...] = ()
    gradients: list[dict[str, Any]] = []
    figures: dict[str, Frequencies] = {}
    if across_tokenizers:
        rows = [row for p, own in found.items() for row in _sequence_rows(p, own, keys, student, teacher)]
    else:
        pair = Pair(HiddenStates(student, "student"), HiddenStates(teacher, "teacher"), config, temperature)
        ks = pair.ks
        rows, figures = _token_rows(pair, found, keys, config, out, progress)
        gradients = _gradients(pair, found["student"], config)
        tokens = sorted({int(i) for one in figures.values() for i in one.ids})
        texts = pair.student.tokenizer.batch_decode([[i] for i in tokens])
        (out / TOKENS).write_text(json.dumps(dict(zip(map(str, tokens), texts))))
        save_file(_arrays(figures), out / CONTRIBUTIONS, {"ks": ",".join(map(str, ks))})
    write_measurements(out / MEASUREMENTS, rows)
    tasks = list(dict.fromkeys(item.task for item in items))
    every = [select_columns(rows, policy, task) for policy in found for task in tasks]
    values = [one for columns in every for one in per_prompt_values(columns, ks)]
    write_per_prompt(out / PER_PROMPT, [one for one in values if one.usable])
    write_per_prompt(out / PER_BLOCK, [one for task, own in figures.items() for one in _correlation_values(task, own)])
    undecided = sum(row["undecided"] for row in rows)
    return {
        **({"undecided": undecided} if undecided else {}),
        "ks": list(ks),
        "left_out": list(LEFT_OUT) if across_tokenizers else [],
        "not_finite": [f"{one.metric} on {one.task}" for one in values if not one.usable],
        "panel": [row for columns in every for row in panel(columns, ks, resamples=config.resamples, seed=seed)],
        "frequency": [row for task, own in figures.items() for row in _frequency_rows(task, own)],
        "gradient_variance": gradients,
        "gradient_tokens": config.gradient_tokens,
    }


def _frequency_rows(task: str, frequencies: Frequencies) -> list[dict[str, Any]]:
    """One row per K: the rank correlation of frequency and contribution, with its interval."""
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
    """A row per completion, a task after the other; and Eq 4 per task, of the student's own."""
    rows: list[dict[str, Any]] = []
    figures: dict[str, Frequencies] = {}
    total = sum(map(len, completions.values()))
    for policy, own in completions.items():
        walk = own.walk(own.every())
        for task in own.places:
            start, blocks = len(rows), []
            with ForkingTokens(out) as forks:
                for block in own.blocks(task, config.contribution_blocks):
                    contributions = pair.contributions() if policy == "student" else None
                    for batch in batches(islice(walk, len(block))):
                        progress(len(rows), total, "completions")
                        for rollout, one in zip(batch, pair.measure(batch, contributions)):
                            rows.append(_row(policy, rollout, one, keys))
                            forks.add(one.entropy_T, one.rkl_T)
                    if contributions is not None and any(row["tokens"] for row in rows[-len(block) :]):
                        blocks.append(contributions.result())
                each = forks.of_each(forks.threshold(config.fork_quantile))
                for row, (tokens, kl) in zip(rows[start:], each, strict=True):
                    row |= {"fork_tokens": tokens, "fork_rkl": kl}
            if blocks:
                figures[task] = Frequencies.of_blocks(blocks)
    progress(total, total, "completions")
    return rows, figures


def _row(policy: Policy, rollout: Rollout, one: TokenLevel, keys: dict[tuple[str, str], str | None]) -> dict[str, Any]:
    names = "student_log_prob", "teacher_log_prob", "rkl", "fkl", "entropy_student", "entropy_teacher", "partial_rkl"
    return _common(policy, rollout, keys) | {name: getattr(one, name) for name in names}


def _sequence_rows(
    policy: Policy,
    completions: Completions,
    keys: dict[tuple[str, str], str | None],
    student: Path | str,
    teacher: Path | str,
) -> list[dict[str, Any]]:
    """A row per completion; each model reads the file for itself, and is gone before the next comes."""
    own = student if policy == "student" else teacher
    scores = [sequence_log_probs(completions.walk(completions.every()), own, model) for model in (student, teacher)]
    return [
        _common(policy, rollout, keys) | {"student_log_prob": s, "teacher_log_prob": t}
        for rollout, s, t in zip(completions.walk(completions.every()), *scores, strict=True)
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
        (task, item): places
        for task, prompts in completions.places.items()
        for item, places in islice(prompts.items(), config.gradient_prompts)
    }
    walk = completions.walk(chosen.values())
    found = []
    for (task, item), places in chosen.items():
        one = pair.gradient_variance(list(islice(walk, len(places))), config.gradient_tokens)
        if one is not None:
            found.append({"task": task, "item": item, **{k: plain(v) for k, v in one.items()}})
    return found


def _correlation_values(task: str, found: Frequencies) -> list[PerPromptValues]:
    blocks = tuple(f"block-{n:03d}" for n in range(len(found.sums)))
    ones = np.ones(len(blocks))
    names = [f"K={k}" for k in found.ks[:-1]] + ["K=V"]
    values = [PerPromptValues(task, name, blocks, column, ones) for name, column in zip(names, found.influence().T)]
    return [one for one in values if one.usable]


def _arrays(figures: dict[str, Frequencies]) -> dict[str, np.ndarray]:
    return {
        f"{task}/{name}": np.ascontiguousarray(getattr(found, name))
        for task, found in figures.items()
        for name in ("ids", "sums", "counts", "realised", "realised_kl")
    }


def write_per_prompt(path: Path, values: list[PerPromptValues]) -> None:
    schema = pa.schema(
        [
            ("task", pa.string()),
            ("item", pa.string()),
            ("metric", pa.string()),
            ("value", pa.float64()),
            ("weight", pa.float64()),
        ]
    )
    pq.write_table(pa.Table.from_pylist([row for one in values for row in one.rows()], schema=schema), path)
