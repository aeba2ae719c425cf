"""Peak GPU memory of one rank of a stage, broken down by what holds it.

DERIVED from model sizes and from how trainers, FSDP2 and vLLM keep them. What layers keep for the backward pass is
MEASURED on the CPU (`activations`), and the total of one training run on a GPU; docs/gpu.md compares them and has the
resulting tables. Matching a KL (`model_memory.matching_gib`) happens after training and needs less, as a test checks.
"""

from dataclasses import dataclass

from repro.distillation.loss import PEAK_COPIES, TILE_LOGITS
from repro.models.padded_batches import FORWARD_TOKENS
from repro.planner import activations
from repro.planner.architectures import Architecture, architecture
from repro.planner.model_memory import (
    GIB,
    fsdp_gathered_gib,
    gradient_gib,
    layer_params,
    lora_params,
    output_layer_params,
    perturbed_gib,
    weights_gib,
)
from repro.planner.resources import ONE_GPU, Layout
from repro.recipes.assumed import assumed
from repro.stages import Diagnose, Stage
from repro.stages.references import Model
from repro.stages.workload import Workload
from repro.training.optimisation import LARGE
from repro.training.vllm_memory import BFLOAT16, FLOAT32, LEAST_CACHE, MOMENTS, engine_weights

KV_CACHE_GIB = LEAST_CACHE / GIB
"""Minimum key-value cache next to vLLM's weights; in practice it gets all free memory (`planner.concurrency`)."""
ASLEEP_GIB = 1.2
"""ASSUMED: CUDA graphs and workspaces that vLLM keeps while asleep."""
WORKSPACE_GIB = 1.5
"""MEASURED on an H100: 1.46 for the CUDA context and kernels, used on the GPU but not reserved by torch."""
FRAGMENTS_GIB = 0.7
"""MEASURED on an H100, SFT of Qwen3-0.6B: reserved by torch's allocator beyond its tensors at their peak. Free while vLLM samples."""
TILE = (4096, 32_768)
"""Tile size (tokens, vocabulary) of TRL's chunked output layer: complete logits are never materialised."""
GRADIENT_COPIES = 8
"""Number of float64 tensors [completions, tokens, vocabulary] held while a diagnosis compares gradients (Eq 5)."""


@dataclass(frozen=True)
class GpuMemory:
    """GiB of one rank.

    Attributes:
        weights: of the trained model; a model that is only sampled from counts under `sampling`.
        gradients: including DDP's buckets, which are a copy. Also counted while vLLM samples, as in vLLM's share
            (`training.vllm_memory`): torch keeps their memory.
        optimizer: AdamW's moments.
        frozen: teacher, calibration target, or the models of a diagnosis or guard.
        gathered: with full sharding: unsharded layers and output layer while they compute, gradients before reduction.
        activations: kept for the backward pass, including autocast's bfloat16 copies of weights; in a diagnosis, those
            of its passes.
        logits: the tiles of the output layers, plus a float32 gradient of the trained one besides that in `gradients`;
            or what the frozen model's pass holds, which ends before.
        embedding: the same gradient plus the embedding's, at the end of the backward pass, when activations are freed.
        fragments: fragmentation of torch's allocator, for what torch computes itself.
        asleep: what vLLM keeps in the trainer's process during an optimiser step.
        sampling: generation between steps (never at the same time as a step), or everything a sampling stage holds;
            likewise a reward model.
        server: per GPU of a vLLM server, which holds nothing else.
    """

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    frozen: float = 0.0
    gathered: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    embedding: float = 0.0
    fragments: float = 0.0
    asleep: float = 0.0
    sampling: float = 0.0
    workspace: float = WORKSPACE_GIB
    server: float = 0.0

    @property
    def total(self) -> float:
        """Peak GiB of the fullest GPU. A rank needs what stays plus the larger of training step and sampling."""
        stays = self.weights + self.gradients + self.optimizer + self.frozen + self.workspace
        step = max(self.activations + self.logits + self.gathered, self.embedding) + self.fragments + self.asleep
        return max(stays + max(step, self.sampling), self.server + self.workspace if self.server else 0.0)


def gpu_memory(stage: Stage, layout: Layout = ONE_GPU) -> GpuMemory:
    """Estimate the memory of one rank, accurate to perhaps a fifth above toy scale."""
    workload = stage.workload
    if workload.main is None:
        return GpuMemory()
    main = _architecture(workload.main)
    frozen = _architecture(workload.frozen) if workload.frozen else None
    if workload.trains:
        return _training(workload, main, frozen, layout)
    if workload.samples:
        sampling = _sampling(workload, main, layout)
        if frozen:
            return _guarded(workload, sampling, frozen)
        return GpuMemory(sampling=max(sampling, reward_model_gib(workload)))
    return _scoring(stage, main, frozen)


def _training(workload: Workload, main: Architecture, frozen: Architecture | None, layout: Layout) -> GpuMemory:
    """Estimate training: the model in float32, with gradients and moments (of adapters or all); vLLM alternates.

    The frozen model is in bfloat16: sharded with the trained one if it scores inside the step, else replicated.
    """
    shards = layout.ranks if layout.shard else 1
    all_params = main.parameters * 1e9 / GIB
    adapters = None if workload.lora_rank is None else lora_params(main, workload.lora_rank)
    if workload.output_layer_only:
        adapters = output_layer_params(main)  # next to the embeddings, to which it may have been tied
    trained_params = all_params if adapters is None else adapters
    in_step = frozen if workload.frozen_in_step else None
    anchor = main if workload.kl_anchor and adapters is None else None
    gathered = sampling = 0.0
    if layout.shard:
        gathered = sum(fsdp_gathered_gib(model) for model in (main, in_step, anchor) if model)
        if adapters is None:  # gradients of the unsharded layers
            gathered += (layer_params(main) + output_layer_params(main)) * FLOAT32
    frozen_pass = activations.held_by_forward(in_step, _tokens(workload, layout), _length(workload)) if in_step else 0
    tiles = _tiles(main, _tokens(workload, layout)) * (2 if in_step else 1)
    if workload.uses_loss_layer:
        logits = layout.micro_batch * workload.max_completion_tokens * main.vocabulary
        tiles = PEAK_COPIES * min(logits, TILE_LOGITS) * FLOAT32 / GIB
    if workload.output_layer_only:
        tiles = activations.complete_logits(main, layout.micro_batch * workload.max_completion_tokens) / GIB
    output_gradient = 0.0 if adapters is not None or layout.shard else output_layer_params(main) * FLOAT32
    if workload.samples:
        sampling = max(_sampling_between_steps(workload, main, layout), reward_model_gib(workload))
    return GpuMemory(
        weights=(all_params + (adapters or 0.0)) * FLOAT32 / shards,
        gradients=trained_params * _gradient_bytes(layout) / shards,
        optimizer=trained_params * MOMENTS / shards,
        frozen=(weights_gib(frozen, BFLOAT16) / (shards if in_step else 1) if frozen else 0.0)
        + (weights_gib(anchor, BFLOAT16) / shards if anchor else 0.0),
        gathered=gathered,
        activations=_activations(workload, main, layout),
        logits=max(tiles + output_gradient, frozen_pass / GIB),
        embedding=2 * output_gradient,
        fragments=FRAGMENTS_GIB,
        asleep=ASLEEP_GIB if workload.samples_while_training and not layout.vllm_server else 0.0,
        sampling=sampling,
        server=vllm_gib(main, layout.vllm_server) if layout.vllm_server and workload.samples_while_training else 0.0,
    )


def _guarded(workload: Workload, teacher: float, proxy: Architecture) -> GpuMemory:
    """Estimate sampling through a guard: its float32 proxies plus the teacher, or moving them along a gradient.

    Args:
        teacher: GiB of the teacher and its cache.
    """
    proxies = workload.proxies * (weights_gib(proxy, FLOAT32) + _cache_gib(workload, proxy, FLOAT32))
    if workload.takes_gradient:
        proxies = max(proxies, gradient_gib(proxy, _length(workload)))
    return GpuMemory(frozen=teacher + proxies, fragments=FRAGMENTS_GIB)


def _activations(workload: Workload, main: Architecture, layout: Layout) -> float:
    tokens, length = _tokens(workload, layout), _length(workload)
    if workload.output_layer_only:
        return activations.held_by_forward(main, tokens, length) / GIB
    checkpointed, adapters = main.parameters * 1e9 >= LARGE, workload.lora_rank is not None
    copies = 0 if layout.shard else activations.weight_copies(main, checkpointed=checkpointed, adapters=adapters)
    saved = activations.saved_for_backward(main, tokens, length, checkpointed=checkpointed, adapters=adapters)
    return (saved + copies) / GIB


def _scoring(stage: Stage, main: Architecture, frozen: Architecture | None) -> GpuMemory:
    """Estimate a diagnosis or scores: frozen bfloat16 models, one forward pass at a time, logits to compare
    gradients."""
    models = [main, frozen] if frozen else [main]
    logits = 0.0
    if isinstance(stage, Diagnose):
        completions = stage.on_policy.config.completions_per_prompt
        cells = completions * stage.config.gradient_tokens * main.vocabulary
        logits = GRADIENT_COPIES * cells * 8 / GIB if stage.config.gradient_prompts else 0.0
    length = min(_length(stage.workload), FORWARD_TOKENS)
    if stage.workload.takes_gradient:
        return GpuMemory(frozen=perturbed_gib(main, length), fragments=FRAGMENTS_GIB)
    return GpuMemory(
        frozen=sum(weights_gib(model, BFLOAT16) for model in models),
        activations=max(activations.held_by_forward(model, FORWARD_TOKENS, length) for model in models) / GIB,
        logits=logits,
        fragments=FRAGMENTS_GIB,
    )


def _length(workload: Workload) -> int:
    """Return the tokens of the longest prompt and completion."""
    return int(assumed("prompt tokens")) + workload.max_completion_tokens


def _tokens(workload: Workload, layout: Layout) -> int:
    """Return the tokens of a micro-batch whose sequences all have the maximum length."""
    return layout.micro_batch * _length(workload)


def _sampling(workload: Workload, model: Architecture, layout: Layout) -> float:
    """Return GiB of vLLM; or, for transformers, of the weights and one batch's keys and values."""
    if workload.engine == "vllm":
        return vllm_gib(model, layout.tensor_parallel)
    if not workload.batch_sequences:
        return weights_gib(model, BFLOAT16)
    value_bytes = BFLOAT16 if workload.uses_gpu else FLOAT32
    return weights_gib(model, value_bytes) + _cache_gib(workload, model, value_bytes)


def _cache_gib(workload: Workload, model: Architecture, value_bytes: int) -> float:
    """Return GiB of the keys and values that transformers holds for one batch."""
    return 2 * workload.batch_sequences * _length(workload) * model.layers * model.keys * value_bytes / GIB


def _sampling_between_steps(workload: Workload, model: Architecture, layout: Layout) -> float:
    """Return GiB of generation between the steps.

    vLLM holds the unsharded model on every rank (unless a server does); weights arrive one by one, gathered in float32.
    """
    if workload.engine == "vllm":
        engine = 0.0 if layout.vllm_server else vllm_gib(model)
        return engine + (output_layer_params(model) * FLOAT32 if layout.shard else 0.0)
    cells = 2 * _tokens(workload, layout) * model.layers * model.keys * BFLOAT16 / GIB
    return cells + (fsdp_gathered_gib(model) if layout.shard else 0.0)


def _architecture(model: Model) -> Architecture:
    return architecture(model.base_model.name)


def vllm_gib(model: Architecture, tensor_parallel: int = 1) -> float:
    """Return GiB of vLLM per GPU: its share of the weights in bfloat16, a tenth more for buffers, and a cache."""
    return engine_weights(model.parameters * 1e9) / GIB / tensor_parallel + KV_CACHE_GIB


def reward_model_gib(workload: Workload) -> float:
    """Return GiB of a reward model while it scores, with vLLM asleep."""
    if workload.reward_model is None:
        return 0.0
    model = _architecture(workload.reward_model)
    length = min(_length(workload), FORWARD_TOKENS)
    forward = activations.held_by_forward(model, FORWARD_TOKENS, length) / GIB
    return weights_gib(model, BFLOAT16) + forward + (ASLEEP_GIB if workload.samples_while_training else 0.0)


def _gradient_bytes(layout: Layout) -> int:
    """Return the bytes of a gradient, plus DDP's buckets (a second copy); FSDP2 and single processes have none."""
    return 2 * FLOAT32 if layout.ranks > 1 and not layout.shard else FLOAT32


def _tiles(model: Architecture, tokens: int) -> float:
    return min(tokens, TILE[0]) * min(model.vocabulary, TILE[1]) * FLOAT32 / GIB
