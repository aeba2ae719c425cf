"""The diagnosis of one student and one teacher: score both policies' completions, keep every rollout, sum up."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.numpy import save_file

from repro.diagnosis.columns import Policy, columns_of, write_measurements
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.files import CONTRIBUTIONS, MEASUREMENTS, PER_BLOCK, PER_PROMPT, TOKENS
from repro.diagnosis.frequency import Frequencies
from repro.diagnosis.hidden import HiddenStates
from repro.diagnosis.panel import LEVEL, panel, plain
from repro.diagnosis.per_prompt import PerPrompt, per_prompt_values
from repro.diagnosis.sequence_level import LEFT_OUT, sequence_log_probs
from repro.diagnosis.token_level import Pair, TokenLevel
from repro.errors import InputError
from repro.generation.rollouts import Rollout, read_rollouts
from repro.progress import Progress
from repro.tasks import registry
from repro.tasks.grading import grade
from repro.tasks.task import Item
from repro.traps import forking_share


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
    rollouts = {policy: read_rollouts(path) for policy, path in completions.items()}
    for policy, own in rollouts.items():
        check_rollouts(own, f"{policy} {student if policy == 'student' else teacher}")
    keys = {(item.task, item.id): item.key for item in items}
    ks: tuple[int, ...] = ()
    gradients: list[dict[str, Any]] = []
    figures: dict[str, Frequencies] = {}
    if across_tokenizers:
        rows = [row for p, own in rollouts.items() for row in _sequence_rows(p, own, keys, student, teacher)]
    else:
        pair = Pair(HiddenStates(student, "student"), HiddenStates(teacher, "teacher"), config, temperature)
        ks = pair.ks
        rows, figures = _token_rows(pair, rollouts, keys, config, progress)
        gradients = _gradients(pair, rollouts["student"], config)
        tokens = sorted({int(i) for one in figures.values() for i in one.ids})
        texts = pair.student.tokenizer.batch_decode([[i] for i in tokens])
        (out / TOKENS).write_text(json.dumps(dict(zip(map(str, tokens), texts))))
        save_file(_arrays(figures), out / CONTRIBUTIONS, {"ks": ",".join(map(str, ks))})
    write_measurements(out / MEASUREMENTS, rows)
    tasks = list(dict.fromkeys(item.task for item in items))
    every = [columns_of(rows, policy, task) for policy in rollouts for task in tasks]
    values = [one for columns in every for one in per_prompt_values(columns, ks)]
    _write(out / PER_PROMPT, [one for one in values if one.usable])
    _write(out / PER_BLOCK, [one for task, found in figures.items() for one in _correlation_values(task, found)])
    return {
        "ks": list(ks),
        "left_out": list(LEFT_OUT) if across_tokenizers else [],
        "not_finite": [f"{one.metric} on {one.task}" for one in values if not one.usable],
        "panel": [row for columns in every for row in panel(columns, ks, resamples=config.resamples, seed=seed)],
        "frequency": [
            {
                "task": task,
                "k": k,
                "whole_vocabulary": k == ks[-1],
                "correlation": plain(one.value),
                "low": plain(one.low),
                "high": plain(one.high),
                "tokens": int(points),
                "blocks": one.prompts,
            }
            for task, found in figures.items()
            for k, one, points in zip(ks, found.intervals(LEVEL), found.points())
        ],
        "gradient_variance": gradients,
        "gradient_tokens": config.gradient_tokens,
    }


def check_rollouts(rollouts: Sequence[Rollout], name: str) -> None:
    """Refuse completions that no interval or preference can rest on.

    Raises:
        InputError: a task whose completions are all empty, with one prompt, or with one completion per prompt.
    """
    for task in dict.fromkeys(r.task for r in rollouts):
        own = [r for r in rollouts if r.task == task]
        if not any(r.token_ids for r in own):
            raise InputError(
                f"{name}: all {len(own)} completions of task {task} are empty, so there is no KL per token."
            )
        prompts = {r.item_id for r in own}
        if len(prompts) < 2:
            raise InputError(f"{name}: task {task} has one prompt; intervals need two or more (--items).")
        if len(own) < 2 * len(prompts):
            raise InputError(
                f"{name}: one completion per prompt of task {task} makes no pairs of traces and no interval."
                " Sample two or more (--set evaluation.completions_per_prompt=16)."
            )


def _token_rows(
    pair: Pair,
    rollouts: dict[Policy, list[Rollout]],
    keys: dict[tuple[str, str], str | None],
    config: DiagnosisConfig,
    progress: Progress,
) -> tuple[list[dict[str, Any]], dict[str, Frequencies]]:
    rows: list[dict[str, Any]] = []
    figures: dict[str, Frequencies] = {}
    total, done = sum(map(len, rollouts.values())), 0
    for policy, own in rollouts.items():
        for task in dict.fromkeys(r.task for r in own):
            records: list[tuple[Rollout, TokenLevel]] = []
            blocks = []
            for block in _blocks([r for r in own if r.task == task], config.contribution_blocks):
                progress(done, total, "completions")
                contributions = pair.contributions() if policy == "student" else None
                records += zip(block, pair.measure(block, contributions))
                done += len(block)
                if contributions is not None and any(r.token_ids for r in block):
                    blocks.append(contributions.result())
            if blocks:
                figures[task] = Frequencies.of_blocks(blocks)
            rows += _rows(policy, records, keys, config.fork_quantile)
    progress(total, total, "completions")
    return rows, figures


def _rows(
    policy: Policy,
    records: list[tuple[Rollout, TokenLevel]],
    keys: dict[tuple[str, str], str | None],
    quantile: float,
) -> list[dict[str, Any]]:
    entropy = torch.cat([one.entropy_T for _, one in records])
    threshold = forking_share(entropy, torch.cat([one.rkl_T for _, one in records]), quantile).threshold
    rows = []
    for rollout, one in records:
        forks_T = one.entropy_T > threshold
        rows.append(
            _common(policy, rollout, keys)
            | {name: getattr(one, name) for name in ("student_log_prob", "teacher_log_prob", "rkl", "fkl")}
            | {name: getattr(one, name) for name in ("entropy_student", "entropy_teacher", "partial_rkl")}
            | {"fork_tokens": int(forks_T.sum()), "fork_rkl": float(one.rkl_T[forks_T].double().sum())}
        )
    return rows


def _sequence_rows(
    policy: Policy,
    rollouts: list[Rollout],
    keys: dict[tuple[str, str], str | None],
    student: Path | str,
    teacher: Path | str,
) -> list[dict[str, Any]]:
    own = student if policy == "student" else teacher
    scores = [sequence_log_probs(rollouts, own, model) for model in (student, teacher)]
    return [
        _common(policy, rollout, keys) | {"student_log_prob": s, "teacher_log_prob": t}
        for rollout, s, t in zip(rollouts, *scores)
    ]


def _common(policy: Policy, rollout: Rollout, keys: dict[tuple[str, str], str | None]) -> dict[str, Any]:
    kind = registry.kind_of(rollout.task)
    key = keys[rollout.task, rollout.item_id]
    return {
        "policy": policy,
        "task": rollout.task,
        "item_id": rollout.item_id,
        "sample": rollout.sample,
        "tokens": len(rollout.token_ids),
        "correct": None if kind == "open" else grade(kind, rollout.text, key).correct,
        "sampled_log_prob": float(sum(rollout.log_probs)),
    }


def _blocks(rollouts: list[Rollout], most: int) -> list[list[Rollout]]:
    """Rollouts in at most that many groups of whole prompts."""
    prompts: dict[str, list[Rollout]] = {}
    for one in rollouts:
        prompts.setdefault(one.item_id, []).append(one)
    groups = np.array_split(np.arange(len(prompts)), min(most, len(prompts)))
    by_prompt = list(prompts.values())
    return [[one for n in group for one in by_prompt[n]] for group in groups]


def _gradients(pair: Pair, rollouts: list[Rollout], config: DiagnosisConfig) -> list[dict[str, Any]]:
    found = []
    for task in dict.fromkeys(r.task for r in rollouts):
        own = [r for r in rollouts if r.task == task]
        for item in list(dict.fromkeys(r.item_id for r in own))[: config.gradient_prompts]:
            one = pair.gradient_variance([r for r in own if r.item_id == item], config.gradient_tokens)
            if one is not None:
                found.append({"task": task, "item": item, **{k: plain(v) for k, v in one.items()}})
    return found


def _correlation_values(task: str, found: Frequencies) -> list[PerPrompt]:
    blocks = tuple(f"block-{n:03d}" for n in range(len(found.sums)))
    ones = np.ones(len(blocks))
    names = [f"K={k}" for k in found.ks[:-1]] + ["K=V"]
    values = [PerPrompt(task, name, blocks, column, ones) for name, column in zip(names, found.influence().T)]
    return [one for one in values if one.usable]


def _arrays(figures: dict[str, Frequencies]) -> dict[str, np.ndarray]:
    return {
        f"{task}/{name}": np.ascontiguousarray(getattr(found, name))
        for task, found in figures.items()
        for name in ("ids", "sums", "counts", "realised", "realised_kl")
    }


def _write(path: Path, values: list[PerPrompt]) -> None:
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
