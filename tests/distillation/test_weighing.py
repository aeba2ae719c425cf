"""Weights of traces, and the SFT that they go into, against enumeration in float64."""

import math
import types
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.integrations.sdpa_attention as sdpa
from distillation.test_distill import Run, lines, run, stored
from tiny_models import qwen_tokenizer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from repro.distillation.config import WeighingConfig
from repro.distillation.loss_gradient import mean_loss_gradient, spread
from repro.distillation.weighing import (
    WEIGHTS,
    moved_both_ways,
    read_weights,
    trace_values,
    weigh_completions,
    weights_of,
)
from repro.errors import InputError
from repro.generation.rollouts import Rollout, stream_rows, write_rollouts
from repro.models.loading import load_model
from repro.progress import silent
from repro.tasks import Item

__all__ = ["run", "stored"]
Trace = tuple[list[int], list[int]]
HOLDOUT = [([5, 6, 7], [8, 9, 10, 2]), ([5, 6], [11, 2]), ([9], [12, 13, 14])]
TRACES = [([5, 6], [20, 21, 2]), ([9, 9, 9], [8, 9, 10, 2]), ([5, 6], []), ([4], [40]), ([5, 6, 7], [8, 9, 10, 2])]


def exact_nll(model: Any, trace: Trace) -> torch.Tensor:
    """Nats per token of a completion, by a plain forward of one sequence."""
    prompt, completion = trace
    log_p_TV = model(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
    return -sum(log_p_TV[len(prompt) + t - 1, token] for t, token in enumerate(completion)) / len(completion)


def exact_values(folder: Path) -> list[float | None]:
    """<grad NLL(trace), grad of the holdout's mean loss>, by autograd in float64."""
    model = load_model(folder).double()
    parameters = list(model.parameters())
    tokens = sum(len(completion) for _, completion in HOLDOUT)
    loss = sum(exact_nll(model, pair) * len(pair[1]) for pair in HOLDOUT) / tokens
    g = torch.autograd.grad(loss, parameters)
    values: list[float | None] = []
    for trace in TRACES:
        if not trace[1]:
            values.append(None)
            continue
        grads = torch.autograd.grad(exact_nll(model, trace), parameters)
        values.append(sum((a * b).sum().item() for a, b in zip(grads, g)))
    return values


def test_a_value_is_the_product_of_two_gradients(student, tmp_path):
    along, against, norm = moved_both_ways(load_model(student), HOLDOUT, 1e-4)
    values = trace_values(along, against, TRACES, 1e-4, tmp_path / "chunks")
    exact = exact_values(student)
    gradient = mean_loss_gradient(load_model(student), HOLDOUT)
    assert norm == pytest.approx(math.sqrt(sum(g.square().sum().item() for g in gradient.values())), rel=1e-5)
    before = dict(load_model(student).named_parameters())
    for model, sign in ((along, 1), (against, -1)):
        for name, weight in model.named_parameters():
            assert torch.allclose(weight, before[name] + sign * 1e-4 * gradient[name], atol=1e-6)
    assert [value is None for value in values] == [value is None for value in exact]
    for value, expected in zip(values, exact):
        assert value == (None if expected is None else pytest.approx(expected, rel=2e-3, abs=2e-2))
    assert exact[4] == max(value for value in exact if value is not None)  # a trace of the holdout itself helps it most


def test_no_attention_of_float32_on_a_gpu_is_left_to_torchs_general_path(student, monkeypatch, tmp_path):
    """Gradient and scores, with one sequence at a time and so without a mask. On a CPU, and in 16 bits, nothing changes."""
    cuda = types.SimpleNamespace(shape=(1, 2, 3, 8), is_cuda=True)
    keys = {name: types.SimpleNamespace(**vars(cuda), dtype=getattr(torch, name)) for name in ("float32", "bfloat16")}
    answers: list[tuple[bool, ...]] = []
    attend = sdpa.sdpa_attention_forward

    def note(module, query, key, value, attention_mask, **named):
        assert attention_mask is None
        answers.append(tuple(sdpa.use_gqa_in_sdpa(None, k, k) for k in (keys["float32"], keys["bfloat16"], key)))
        return attend(module, query, key, value, attention_mask, **named)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", note)
    layers = load_model(student).config.num_hidden_layers
    along, against, _ = moved_both_ways(load_model(student), HOLDOUT[:1], 1e-4)
    assert answers == [(False, True, True)] * layers
    trace_values(along, against, TRACES[:1], 1e-4, tmp_path / "chunks")
    assert answers == [(False, True, True)] * 3 * layers
    assert sdpa.use_gqa_in_sdpa(None, keys["float32"], keys["float32"])


def test_a_batch_of_empty_traces_has_no_values(student, tmp_path):
    model = load_model(student)
    assert trace_values(model, model, [([5, 6], []), ([7], [])], 1e-4, tmp_path / "chunks") == [None, None]


def test_a_step_on_a_valuable_trace_lowers_the_holdouts_loss_most(student):
    """What the value means, without any derivative: take the step, and look."""
    values = exact_values(student)

    def loss_after(trace: Trace) -> float:
        model = load_model(student).double()
        parameters = list(model.parameters())
        grads = torch.autograd.grad(exact_nll(model, trace), parameters)
        with torch.no_grad():
            for parameter, grad in zip(parameters, grads):
                parameter -= 1e-5 * grad
            return (sum(exact_nll(model, pair) * len(pair[1]) for pair in HOLDOUT) / 9).item()

    model = load_model(student).double()
    before = (sum(exact_nll(model, pair) * len(pair[1]) for pair in HOLDOUT) / 9).item()
    for trace, value in zip(TRACES, values):
        if value is not None:
            assert (before - loss_after(trace)) / 1e-5 == pytest.approx(value, rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_weights_are_exponential_in_standard_deviations(strength):
    values = [1.0, None, 2.0, 4.0, 1.0]
    known = [1.0, 2.0, 4.0, 1.0]
    mean = sum(known) / 4
    spread = math.sqrt(sum((value - mean) ** 2 for value in known) / 4)
    raw = [math.exp(strength * (value - mean) / spread) for value in known]
    expected = [weight * 4 / sum(raw) for weight in raw]
    weights = weights_of(values, strength)
    assert weights == pytest.approx([expected[0], 0.0, *expected[1:]], rel=1e-12)
    assert sum(weights) == pytest.approx(4)


def test_equal_values_weigh_the_same():
    assert weights_of([0.3, 0.3, None], 1.0) == [1.0, 1.0, 0.0]
    assert weights_of([0.3], 1.0) == [1.0]
    assert weights_of([None], 1.0) == [0.0]


def rollouts(pairs: list[Trace], path: Path) -> Path:
    tokenizer = qwen_tokenizer()
    write_rollouts(
        path,
        [
            Rollout(str(n), "sum", "?", n, prompt, ids, [0.0] * len(ids), tokenizer.decode(ids), "eos")
            for n, (prompt, ids) in enumerate(pairs)
        ],
    )
    return path


def weigh(student: Path, folder: Path, holdout: Path, traces: list[Trace] = TRACES) -> dict[str, Any]:
    return weigh_completions(
        WeighingConfig(strength=1.0, epsilon=1e-4, traces=8),
        rollouts(traces, folder / "traces.parquet"),
        holdout=holdout,
        model=student,
        sampler=student,
        reasoning=True,
        out=folder / "weights.parquet",
        work=folder / "work",
        progress=silent,
    )


def test_stored_weights_are_those_of_the_formula(student, tmp_path):
    summary = weigh(student, tmp_path, rollouts(HOLDOUT, tmp_path / "holdout.parquet"))
    rows = list(stream_rows(tmp_path / "weights.parquet", WEIGHTS.names))
    assert [row["item_id"] for row in rows] == [str(n) for n in range(len(TRACES))]
    weights = read_weights(tmp_path / "weights.parquet")
    assert weights == pytest.approx(weights_of(exact_values(student), 1.0), rel=5e-3)
    assert weights[2] == 0.0
    assert summary["completions"] == 5
    assert summary["holdout"] == 3
    assert summary["effective"] == pytest.approx(sum(weights) ** 2 / (4 * sum(w * w for w in weights)))
    assert summary["largest_weight"] == max(weights)


@pytest.mark.parametrize(("have", "most"), [(3, 8), (8, 8), (15, 8), (1800, 512)])
def test_a_holdouts_traces_are_spread_over_all_of_it(have, most):
    taken = spread(range(have), most)
    assert len(taken) == min(have, most)
    gaps = [after - before for before, after in zip([-1, *taken], [*taken, have])]
    assert all(0 < gap <= have / len(taken) + 1 for gap in gaps)


def test_without_a_holdout_there_is_one_line(student, tmp_path):
    with pytest.raises(InputError, match="the holdout has no completion with tokens"):
        weigh(student, tmp_path, rollouts([([1], [])], tmp_path / "holdout.parquet"))


def weight_file(path: Path, weights: list[float]) -> Path:
    import pyarrow as pa

    from repro.generation.rollouts import RowGroupWriter

    with RowGroupWriter(path, WEIGHTS) as file:
        file.write(pa.Table.from_pylist([{"weight": weight} for weight in weights], schema=WEIGHTS))
    return path


@pytest.mark.parametrize("micro_batch", [None, 4])
def test_a_weighted_step_is_the_weighted_sum_over_the_tokens_of_the_step(
    run: Run,
    stored: Path,
    student: Path,
    items: list[Item],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    micro_batch: int | None,
) -> None:
    from repro.distillation import sft

    rows: list[dict[str, Any]] = []
    inner = sft.sft_row
    monkeypatch.setattr(sft, "sft_row", lambda *a: rows.append(inner(*a)) or rows[-1])
    count = len(list(stream_rows(stored, ["sample"])))
    file = weight_file(tmp_path / "weights.parquet", [0.1 + (n % 5) / 2 for n in range(count)])
    run(tmp_path, method="sft", micro_batch=micro_batch, weights=file)
    model = load_model(student).double()
    total, tokens = 0.0, 0
    for row in rows:
        P = row["labels"].count(-100)
        pair = row["input_ids"][:P], row["input_ids"][P:]
        total = total + row["weight"] * exact_nll(model, pair) * len(pair[1])
        tokens += len(pair[1])
    loss = total / tokens
    norm = torch.stack([g.square().sum() for g in torch.autograd.grad(loss, list(model.parameters()))]).sum().sqrt()
    (step,) = lines(tmp_path / "out")
    assert len({row["weight"] for row in rows}) > 1
    assert step["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert step["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)


def test_weights_of_one_change_nothing(run: Run, stored: Path, tmp_path: Path) -> None:
    count = len(list(stream_rows(stored, ["sample"])))
    file = weight_file(tmp_path / "weights.parquet", [1.0] * count)
    run(tmp_path / "plain", method="sft", steps=2)
    run(tmp_path / "ones", method="sft", steps=2, weights=file)
    models = [(tmp_path / name / "out" / "model" / "model.safetensors").read_bytes() for name in ("plain", "ones")]
    assert models[0] == models[1]


def test_a_large_student_recomputes_its_activations_to_the_same_gradient(student, monkeypatch):
    along, _, norm = moved_both_ways(load_model(student), HOLDOUT, 1e-3)
    monkeypatch.setattr("repro.distillation.loss_gradient.LARGE", 1)
    recomputed, against, again = moved_both_ways(load_model(student), HOLDOUT, 1e-3)
    assert against.is_gradient_checkpointing
    assert again == pytest.approx(norm, rel=1e-6)
    weights = dict(along.named_parameters())
    for name, weight in recomputed.named_parameters():
        assert torch.allclose(weight, weights[name], rtol=1e-5, atol=1e-7)
