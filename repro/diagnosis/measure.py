"""Measure the missing parts of a diagnosis, in one process or in several that take a share each.

Shapes: n completions of a part, N total tokens, J values of K, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.hidden import HiddenStates, batches
from repro.diagnosis.parts import Arrays, DiagnosisInput, Part, split_diagnosis
from repro.diagnosis.sequence_level import sequence_scorer
from repro.diagnosis.token_level import Pair
from repro.generation.rollouts import Rollout
from repro.progress import Progress
from repro.traps import Contributions

COLUMNS = (
    *("student_log_prob", "teacher_log_prob", "rkl", "fkl", "entropy_student", "entropy_teacher", "partial_rkl"),
)
"""Token-level values stored for each completion of a block: fields of `TokenLevel`, columns of `columns.SCHEMA`."""
GRADIENTS = ("sequence", "token", "token_with_future", "ratio")
"""Gradient variances of a prompt, in storage order."""

Measure = Callable[[Part, Iterator[Rollout]], Arrays]


def measure_share(
    config: DiagnosisConfig,
    source: DiagnosisInput,
    *,
    work: Path,
    progress: Progress,
    share: tuple[int, int] = (0, 1),
) -> list[Part]:
    """Measure the unfinished parts of a share; return all parts, in merge order.

    Models are loaded only if a part is missing.

    Args:
        work: stores finished parts until the stage ends.
        share: (index, count): only every count-th part is measured.

    Raises:
        InputError: NaN logits, or completions from another tokenizer.
    """
    parts = split_diagnosis(config, source, work)
    total = parts[-1].end
    missing = [part for part in parts[share[0] :: share[1]] if part.read_finished() is None]
    for alike, measure in _with_models(config, source, missing):
        alike[0].path.parent.mkdir(parents=True, exist_ok=True)
        stream = source.rollouts[alike[0].policy].stream(part.rows for part in alike)
        for part in alike:
            part.write(measure(part, _report(islice(stream, len(part.rows)), part.start, total, progress)))
        del measure  # frees its model before the next one is loaded
    progress(total, total, "completions")
    return parts


def _with_models(
    config: DiagnosisConfig, source: DiagnosisInput, parts: Sequence[Part]
) -> Iterator[tuple[list[Part], Measure]]:
    """Yield the parts of each kind, policy and scoring model, with the function that measures them."""
    groups: dict[tuple[str, str, str], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.kind, part.policy, part.scored_by), []).append(part)
    pair: Pair | None = None
    for alike in groups.values():
        first = alike[0]
        if first.kind == "scores":  # one model in memory at a time
            yield alike, partial(_score, sequence_scorer(source.model(first.policy), source.model(first.scored_by)))
            continue
        if pair is None:
            student, teacher = HiddenStates(source.student, "student"), HiddenStates(source.teacher, "teacher")
            pair = Pair(student, teacher, config, source.temperature)
        if first.kind == "block":
            yield alike, partial(_measure_block, pair)
        else:
            yield alike, partial(_compare_gradients, pair, config.gradient_tokens)


def _score(scorer: Callable[[Iterator[Rollout]], list[float]], _: Part, rollouts: Iterator[Rollout]) -> Arrays:
    """Return log p of each text, [n], nats."""
    return {"log_prob": np.array(scorer(rollouts))}


def _measure_block(pair: Pair, part: Part, rollouts: Iterator[Rollout]) -> Arrays:
    """Return `COLUMNS`, [n] each (partial_rkl [n, J]), per-token entropy and KL, [N], and, for the student, Eq 4."""
    contributions = pair.contributions() if part.policy == "student" else None
    measured = [m for batch in batches(rollouts) for m in pair.measure(batch, contributions)]
    arrays: dict[str, np.ndarray] = {name: np.array([getattr(m, name) for m in measured]) for name in COLUMNS}
    arrays |= {
        "entropy_N": torch.cat([m.entropy_T for m in measured]).numpy(),
        "rkl_N": torch.cat([m.rkl_T for m in measured]).numpy(),
        "ks": np.array(pair.ks),
    }
    if contributions is None or not len(arrays["rkl_N"]):
        return arrays
    result = contributions.result()
    return arrays | {
        "mean_JV": result.mean.numpy(),
        "counts_JV": result.counts.numpy(),
        "realised_mean_V": result.realised_mean.numpy(),
        "realised_counts_V": result.realised_counts.numpy(),
        "steps": np.array(result.steps),
    }


def stored_contributions(block: Arrays) -> Contributions | None:
    """Return Eq 4 for a measured block; None for the teacher's completions or a block without tokens."""
    if "mean_JV" not in block:
        return None
    return Contributions(
        ks=tuple(block["ks"].tolist()),
        mean=torch.from_numpy(block["mean_JV"]),
        counts=torch.from_numpy(block["counts_JV"]),
        realised_mean=torch.from_numpy(block["realised_mean_V"]),
        realised_counts=torch.from_numpy(block["realised_counts_V"]),
        steps=int(block["steps"]),
    )


def _compare_gradients(pair: Pair, tokens: int, _: Part, rollouts: Iterator[Rollout]) -> Arrays:
    """Return the variances named in `GRADIENTS`; empty if fewer than two completions have tokens."""
    variance = pair.gradient_variance(list(rollouts), tokens)
    return {"variance": np.array([variance[name] for name in GRADIENTS] if variance else [])}


def _report(rollouts: Iterator[Rollout], done: int, total: int, progress: Progress) -> Iterator[Rollout]:
    for number, rollout in enumerate(rollouts):
        progress(done + number, total, "completions")
        yield rollout
