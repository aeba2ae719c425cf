"""The live tensors of a training step of the small scale at full size, without their values, against plan and GPU.

Fake tensors have shapes and no memory. Operations that a GPU does without further tensors (Triton kernels, products that
write float32 into a tile) do nothing here.
"""

import contextlib
import functools
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import trl.kernels.chunked_divergence as divergence
import trl.kernels.chunked_logprob as log_prob
from accelerate.utils.operations import convert_to_fp32
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen3Config, Qwen3ForCausalLM
from trl.trainer.distillation_trainer import _chunked_divergence_loss

import repro.distillation.loss_layer as loss_layer
from repro.distillation.loss import KEPT_COPIES, LOSSES, PEAK_COPIES, TILE_LOGITS
from repro.distillation.loss_gradient import lean_gradient
from repro.distillation.loss_layer import Head, Step, weighted_divergence
from repro.guards.output_layer import freeze_body, untie
from repro.guards.output_layer_trainer import summed_losses
from repro.models import output_layer
from repro.planner.activations import complete_logits
from repro.planner.architectures import architecture
from repro.planner.gpu_memory import GIB, gpu_memory
from repro.planner.model_memory import gradient_gib, perturbed_gib
from repro.planner.placement import Cards, place
from repro.planner.resources import Layout
from repro.recipes.catalog import plan

PROMPT, COMPLETION, VOCABULARY = 203, 512, 151_936
PROOF = Path(__file__).parents[2] / "benchmarks" / "results" / "gpu-h100" / "proof.jsonl"
BLOCK = 512
"""Bytes to which torch's allocator rounds."""


class LiveBytes(TorchDispatchMode):
    """Sums the bytes of all storages that operations return and nothing has dropped yet."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.storages: dict[int, Any] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation is torch.ops.prim.device.default and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # two thirds of all operations: the others ask it
        output = operation(*args, **(kwargs or {}))
        for tensor in (output,) if isinstance(output, torch.Tensor) else tree_leaves(output):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, -(-storage.nbytes() // BLOCK) * BLOCK
        if key in self.storages:
            return

        def drop(_: Any) -> None:
            self.now -= size
            del self.storages[key]

        self.storages[key] = weakref.ref(storage, drop)
        self.now += size
        self.peak = max(self.peak, self.now)


@pytest.fixture
def kernels_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    def project(tile: Any, hidden: Any, weight: Any, bias: Any, start: int, end: int, dtype: torch.dtype) -> None:
        weight[start:end].to(dtype)

    monkeypatch.setattr(divergence, "_project", project)
    for module, names in (
        (divergence, ("_stats_tile", "_backward_tile", "_addmm_fp32")),
        (log_prob, ("_forward_tile", "_backward_tile", "_addmm_fp32")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, nothing)


def qwen3(hidden: int, intermediate: int, dtype: torch.dtype) -> Any:
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
        dtype=dtype,
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # fake weights cannot be converted once something refers to them
    try:
        return Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(default)


def last_hidden(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model.model(input_ids=ids, attention_mask=None, use_cache=False).last_hidden_state[:, -COMPLETION - 1 : -1]


def sft_loss(student: Any, ids: torch.Tensor) -> torch.Tensor:
    hidden = last_hidden(student, ids).flatten(0, 1)
    targets = ids[:, -COMPLETION:].flatten()
    outputs = ("log_probs", "entropy", "is_top1")
    head = log_prob.ChunkedLogProbFunction.apply
    return -head(hidden, student.lm_head.weight, None, targets, 1.0, 32_768, None, 1.0, outputs)[0].sum()


def fkl_loss(student: Any, teacher: Any, ids: torch.Tensor) -> torch.Tensor:
    hidden = last_hidden(student, ids)
    with torch.no_grad():
        target = last_hidden(teacher, ids)
    mask = torch.ones(len(ids), COMPLETION)
    heads = student.lm_head.weight, teacher.lm_head.weight
    return _chunked_divergence_loss(hidden, target, *heads, mask, 0.0, num_items_in_batch=1)[0]


@functools.cache
def step_peak(method: str, sequences: int, *, autocast: bool = True) -> float:
    """Return the GiB at the peak of a forward and backward pass with gradients and moments in place.

    Args:
        autocast: else float32, where no fast attention kernel takes grouped keys and the scores are kept.
    """
    backend = contextlib.nullcontext() if autocast else sdpa_kernel(SDPBackend.MATH)
    live = LiveBytes()
    with FakeTensorMode(), live:
        student = qwen3(1024, 3072, torch.float32).train()
        teacher = qwen3(2048, 6144, torch.bfloat16).eval() if method == "gkd-fkl" else None
        moments = [torch.zeros_like(weight) for weight in student.parameters() for _ in range(2)]
        for weight in student.parameters():
            weight.grad = torch.zeros_like(weight)
        ids = torch.zeros(sequences, PROMPT + COMPLETION, dtype=torch.long)
        with backend, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = sft_loss(student, ids) if teacher is None else fkl_loss(student, teacher, ids)
        loss.backward()
        assert moments
    return live.peak / GIB


def doge_peak(sequences: int, tokens: int = COMPLETION) -> tuple[float, float]:
    """Return the GiB at the peak of two micro-batches of DOGe, and those that stay: weights, gradient and moments."""
    live = LiveBytes()
    with FakeTensorMode(), live:
        teacher, proxy = qwen3(2048, 6144, torch.float32).eval(), qwen3(1024, 3072, torch.bfloat16).eval()
        freeze_body(untie(teacher))
        moments = [torch.zeros_like(teacher.lm_head.weight) for _ in range(2)]
        read = {"input_ids": torch.zeros(sequences, PROMPT + tokens, dtype=torch.long), "use_cache": False}
        read["logits_to_keep"] = tokens + 1
        counted = torch.ones(sequences * tokens)
        stays = live.now + moments[0].nbytes
        for _ in range(2):
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                proxy_NK = completion_rows(proxy(**read).logits).float()
            with torch.autocast("cpu", torch.bfloat16):
                logits = teacher(**read).logits
            logits_NV = completion_rows(convert_to_fp32(logits)).float()  # as accelerate does where autocast ends
            del logits
            nll, kl = summed_losses(logits_NV, counted.long(), proxy_NK, counted, 2.0)
            (nll - kl).backward()
            del logits_NV, proxy_NK
    return live.peak / GIB, stays / GIB


def completion_rows(logits: torch.Tensor) -> torch.Tensor:
    """Return the logits of completion tokens, a copy as a mask makes one."""
    return logits[:, :-1].flatten(0, 1).clone()


def weighing_peak(tokens: int, *, is_general: bool) -> float:
    """Return the GiB at the peak of a large student's gradient in float32.

    Args:
        is_general: attention is torch's general path, which keeps all scores.
    """
    live = LiveBytes()
    backend = sdpa_kernel(SDPBackend.MATH) if is_general else contextlib.nullcontext()
    with FakeTensorMode(), live, backend:
        student = qwen3(2048, 6144, torch.float32).train()
        student.gradient_checkpointing_enable()
        ids = torch.zeros(1, tokens, dtype=torch.long)
        hidden = student.model(input_ids=ids, attention_mask=None, use_cache=False).last_hidden_state[0, :-1]
        head = log_prob.ChunkedLogProbFunction.apply
        scores = head(hidden, student.lm_head.weight, None, ids[0, 1:], 1.0, 32_768, None, 1.0, ("log_probs",))[0]
        scores.sum().backward()
    return live.peak / GIB


def loss_copies(name: str, monkeypatch: pytest.MonkeyPatch, *, is_kept: bool) -> tuple[float, float]:
    """Return the float32 tensors [tokens, vocabulary] that a loss keeps for the backward pass, and those at the peak.

    Args:
        is_kept: all tokens are computed once, as on a CPU; else in three tiles, as on a GPU, and a copy is one of a tile.
    """
    rows, vocabulary = 64, 4096
    tokens = rows if is_kept else 3 * rows
    monkeypatch.setattr(output_layer, "BUDGET_BYTES", 2**40 if is_kept else 0)
    monkeypatch.setattr(loss_layer, "TILE_LOGITS", rows * vocabulary)
    loss = LOSSES.parse(name)
    student, teacher, reference = (Head(torch.randn(tokens, 1), torch.randn(vocabulary, 1)) for _ in range(3))
    student.hidden.requires_grad_()
    student.weight.requires_grad_()
    step = Step(
        loss,
        mask=torch.ones(1, tokens),
        ids=torch.zeros(1, tokens, dtype=torch.long),
        rewards=torch.ones(1),
        reference=reference if "reference" in loss.reads else None,
    )
    live = LiveBytes()
    with live:
        with torch.autocast("cpu", torch.bfloat16):
            divergence, _ = weighted_divergence(step, student, teacher)
        kept = live.now
        divergence.sum().backward()
    copy = 4 * rows * vocabulary
    return kept / copy, live.peak / copy


def measured(step: str) -> float:
    """Return the GiB that torch held on the H100."""
    rows = [json.loads(line) for line in PROOF.read_text().splitlines()]
    return next(row["allocated_gib"] for row in rows if row["step"] == step and "allocated_gib" in row)


@pytest.mark.parametrize(("method", "sequences"), [("sft", 4), ("gkd-fkl", 2), ("gkd-fkl", 4)])
@pytest.mark.usefixtures("kernels_of_a_gpu")
def test_a_step_holds_what_is_planned(method: str, sequences: int) -> None:
    """The plan's prompts are longer."""
    stages = plan("table2", scale="small", seeds=1).stages()
    stage = next(stage for stage in stages if stage.procedure == method)
    memory = gpu_memory(stage, Layout(micro_batch=sequences))
    planned = memory.total - memory.workspace - memory.fragments
    peak = step_peak(method, sequences)
    print(f"{method}, {sequences} at once: {peak:.2f} GiB, {planned:.2f} planned")
    assert peak < planned < 1.06 * peak


@pytest.mark.usefixtures("kernels_of_a_gpu")
def test_the_sum_is_what_a_gpu_held() -> None:
    """SFT as it is; GKD-FKL as it was, in float32, where 4 sequences need more than a card of 24 GB has."""
    assert step_peak("sft", 4) == pytest.approx(measured("sft"), rel=0.02)
    assert step_peak("gkd-fkl", 2, autocast=False) == pytest.approx(measured("fkl"), rel=0.02)
    assert step_peak("gkd-fkl", 4, autocast=False) > 23.6


@pytest.mark.usefixtures("kernels_of_a_gpu")
def test_a_guards_proxy_is_moved_in_what_is_planned() -> None:
    """In float32 attention scores are kept. Before, with all logits of 4,096 tokens, it was 25 GiB."""
    live = LiveBytes()
    with FakeTensorMode(), live, sdpa_kernel(SDPBackend.MATH):
        proxy = qwen3(1024, 3072, torch.float32).eval()
        lean_gradient(proxy, [([0] * PROMPT, [0] * COMPLETION)] * 2)
    peak, planned = live.peak / GIB, gradient_gib(architecture("Qwen/Qwen3-0.6B"), PROMPT + COMPLETION)
    print(f"{peak:.2f} GiB, {planned:.2f} planned")
    assert peak < planned < 1.2 * peak


@pytest.mark.parametrize("name", LOSSES.built_in)
def test_a_loss_holds_as_many_copies_of_the_logits_as_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gates of `entropy-gated` are open at all tokens. What a tile leaves behind would count with the next one's."""
    kept, _ = loss_copies(name, monkeypatch, is_kept=True)
    left, peak = loss_copies(name, monkeypatch, is_kept=False)
    print(f"{name}: {kept:.1f} copies kept, {peak:.1f} at the peak")
    assert kept < KEPT_COPIES
    assert left < 0.2
    assert peak < PEAK_COPIES


def test_the_tiles_of_a_loss_of_our_own_are_planned() -> None:
    """With TRL's tiles, which shrink with the micro-batch, two sequences on a card of 24 GB seemed to fit."""
    stages = [s for s in plan("losses", scale="small", seeds=1).stages() if s.procedure == "gkd-rkl"]
    anchored, kernel = (
        next(s for s in stages if s.config.divergence and s.config.divergence.name == name)
        for name in ("reference-anchored", "jsd")
    )
    for sequences in (1, 2, 4):
        ours, trls = (gpu_memory(stage, Layout(micro_batch=sequences)).logits for stage in (anchored, kernel))
        assert ours * GIB >= 4 * PEAK_COPIES * TILE_LOGITS
        assert ours > trls
    assert place(anchored, Cards(1, 22.2)).layout.micro_batch == 1
    assert place(kernel, Cards(1, 22.2)).layout.micro_batch == 2


@pytest.mark.parametrize("sequences", [2, 4])
def test_a_training_of_the_output_layer_holds_what_is_planned(sequences: int) -> None:
    """The plan's prompts are longer."""
    stages = plan("guards", scale="small", families=("qwen3",), seeds=1).stages()
    memory = gpu_memory(next(s for s in stages if s.procedure == "train-output-layer"), Layout(micro_batch=sequences))
    planned = memory.total - memory.workspace - memory.fragments
    peak, _ = doge_peak(sequences)
    print(f"DOGe, {sequences} at once: {peak:.2f} GiB, {planned:.2f} planned")
    assert peak < planned < 1.06 * peak


def test_long_completions_hold_the_logits_of_the_loss_in_parts() -> None:
    peak, stays = doge_peak(1, 8192)
    planned = complete_logits(architecture("Qwen/Qwen3-1.7B"), 8192) / GIB
    print(f"DOGe, logits of 8,192 tokens: {peak - stays:.2f} GiB, {planned:.2f} planned")
    assert peak - stays < planned < 1.1 * (peak - stays)


@pytest.mark.usefixtures("kernels_of_a_gpu")
def test_a_weighing_fits_its_plan_only_without_the_scores_of_attention() -> None:
    """The paper scale's longest completion; `models.attention` keeps torch's general path out."""
    planned = perturbed_gib(architecture("Qwen/Qwen3-1.7B"), 8448)
    peak, general = (weighing_peak(8448, is_general=is_general) for is_general in (False, True))
    print(f"weighing: {peak:.2f} GiB, {general:.2f} with scores, {planned:.2f} planned")
    assert peak < planned < general
