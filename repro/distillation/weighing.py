"""Weight traces by how much learning from them would help on a holdout (adaptive student of the Distillation Game)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from repro.distillation.config import WeighingConfig
from repro.distillation.loss_gradient import lean_gradient, shift, shifted, spread
from repro.errors import InputError
from repro.generation.chunks import compute_chunks
from repro.generation.rollouts import RowGroupWriter, stream_rollouts, stream_rows
from repro.generation.scores import token_reader
from repro.models.attention import repeated_keys
from repro.models.loading import load_model
from repro.models.padded_batches import padded_batches
from repro.models.scoring import token_log_probs
from repro.progress import Progress, silent

WEIGHTS = pa.schema(
    [
        ("task", pa.string()),
        ("item_id", pa.string()),
        ("sample", pa.int32()),
        ("value", pa.float64()),
        ("weight", pa.float64()),
    ]
)
"""A row per completion, in file order. value: see `trace_values`; null for an empty completion, which has weight 0."""
VALUES = pa.schema([WEIGHTS.field("value")])
"""Columns stored for each batch."""


@repeated_keys()
def trace_values(
    along: Any,
    against: Any,
    traces: Sequence[tuple[list[int], list[int]]],
    epsilon: float,
    folder: Path,
    progress: Progress = silent,
) -> list[float | None]:
    """Return the value of each trace: the derivative of its mean negative log-likelihood along the holdout's gradient.

    To first order, a gradient step on the trace lowers the holdout loss by the step size times this value. Central
    difference: (NLL[theta + epsilon g] - NLL[theta - epsilon g]) / (2 epsilon), NLL in nats per token.

    Args:
        along, against: the student at theta + epsilon g and theta - epsilon g, in float32, with TRL's fused head
            (`add_fused_lm_head`); g is the gradient of the holdout's mean loss (`mean_loss_gradient`).
        traces: prompt and completion tokens.
        epsilon: in units of g.
        folder: stores the values of each batch; values from an earlier run are reused.

    Returns:
        Nats per token and unit of g; None for an empty trace.
    """

    def compute(batch: list[tuple[list[int], list[int]]]) -> pa.Table:
        pairs = [trace for trace in batch if trace[1]]
        prompts, completions = [prompt for prompt, _ in pairs], [completion for _, completion in pairs]
        plus, minus = (
            token_log_probs(scorer, prompts, completions, len(batch), is_precise=True) for scorer in (along, against)
        )
        differences = iter([float((b - a).mean()) / (2 * epsilon) for a, b in zip(plus, minus)])
        column = [next(differences) if completion else None for _, completion in batch]
        return pa.table({"value": column}, schema=VALUES)

    values: list[float | None] = []
    batches = padded_batches(traces, lambda trace: len(trace[0]) + len(trace[1]))
    for chunk in compute_chunks(batches, compute, VALUES, folder):
        values += (row["value"] for row in stream_rows(chunk, VALUES.names))
        progress(len(values), len(traces), "completions")
    return values


def moved_both_ways(
    model: Any, holdout: Sequence[tuple[list[int], list[int]]], epsilon: float
) -> tuple[Any, Any, float]:
    """Return the student moved along and against the gradient of the mean holdout loss, and the gradient's norm.

    Args:
        model: the student, in float32; it is changed in place to become the model moved against the gradient.
        holdout: prompt and completion tokens.
    """
    gradients = lean_gradient(model, holdout)
    squares = [gradient.double().square().sum() for gradient in gradients.values()]
    along = shifted(model, gradients, epsilon)
    return along, shift(model, gradients, -epsilon), float(torch.stack(squares).sum().sqrt())


def weights_of(values: Sequence[float | None], strength: float) -> list[float]:
    """Return exp(strength z) of each value, z in standard deviations from the mean, scaled to a mean of 1; 0 for None.

    All are 1 if all values are equal.
    """
    known = torch.tensor([value for value in values if value is not None], dtype=torch.float64)
    spread = known.std(correction=0) if len(known) else known.sum()
    z = (known - known.mean()) / spread if spread > 0 else torch.zeros_like(known)
    weights = iter((len(known) * (strength * z).softmax(0)).tolist())
    return [0.0 if value is None else next(weights) for value in values]


def weigh_completions(
    config: WeighingConfig,
    completions: Path,
    *,
    holdout: Path,
    model: Path | str,
    sampler: Path | str,
    reasoning: bool,
    out: Path,
    work: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write the `WEIGHTS` of stored completions.

    Args:
        holdout: rollouts of the student itself, in its own tokens.
        model: the student.
        sampler: the model that sampled the completions; their text is re-tokenised if its tokenizer differs.
        reasoning: `enable_thinking` for the student's prompts, in that case.
        work: stores finished batches, so that a killed stage resumes.

    Returns:
        completions; holdout: number of holdout traces in the gradient; gradient_norm; value_mean, value_spread
        (standard deviation), nats per token and unit of g; largest_weight; effective: effective sample size as a share
        of the completions, (sum w)^2 / (n sum w^2).

    Raises:
        InputError: an empty holdout, or nothing to weigh.
    """
    stored = [(row.prompt_ids, row.token_ids) for row in stream_rollouts([holdout]) if row.token_ids]
    if not stored:
        raise InputError(f"{holdout.parent.name}: the holdout has no completion with tokens, so it has no gradient")
    pairs = spread(stored, config.traces)
    along, against, gradient_norm = moved_both_ways(load_model(model).float(), pairs, config.epsilon)
    read = token_reader(model, sampler, reasoning)
    traces = [read(rollout) for rollout in stream_rollouts([completions])]
    if not any(ids for _, ids in traces):
        raise InputError(f"{completions.parent.name}: every completion is empty, so none can be weighed")
    values = trace_values(along, against, traces, config.epsilon, work, progress)
    weights = weights_of(values, config.strength)
    keys = stream_rows(completions, ["task", "item_id", "sample"])
    rows = [{**key, "value": value, "weight": weight} for key, value, weight in zip(keys, values, weights)]
    with RowGroupWriter(out, WEIGHTS) as file:
        file.write(pa.Table.from_pylist(rows, schema=WEIGHTS))
    known = torch.tensor([value for value in values if value is not None], dtype=torch.float64)
    squares = sum(weight * weight for weight in weights)
    return {
        "completions": len(rows),
        "holdout": len(pairs),
        "gradient_norm": gradient_norm,
        "value_mean": float(known.mean()),
        "value_spread": float(known.std(correction=0)),
        "largest_weight": max(weights),
        "effective": sum(weights) ** 2 / (len(known) * squares),
    }


def read_weights(file: Path) -> list[float]:
    """Return the weight of each completion, in file order."""
    return [row["weight"] for row in stream_rows(file, ["weight"])]
