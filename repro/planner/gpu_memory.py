"""GPU memory of one rank of a stage at its peak, by what holds it. DERIVED from parameter counts and from how trainers, FSDP2
and vLLM keep them; no GPU has confirmed it."""

from dataclasses import dataclass

from repro.planner.architectures import Architecture, architecture
from repro.stages import BaseModelRef, Calibrate, Continue, Distill, Evaluate, Sample, Stage

GIB = 2**30
FLOAT32, BFLOAT16 = 4, 2
MOMENTS = 2 * FLOAT32
"""AdamW's two moments of each trained parameter."""
KV_CACHE_GIB = 6.0
"""Least key-value cache beside vLLM's weights (`training.vllm_policy`)."""
WORKSPACE_GIB = 2.0
"""CUDA's own context, one layer's recomputed activations, what the allocator loses."""
TILE = (4096, 32_768)
"""Tokens and vocabulary of the pieces in which TRL multiplies an output layer: whole logits never exist."""


@dataclass(frozen=True)
class Layout:
    """How a stage lies on its GPUs; no part of what it is.

    Attributes:
        ranks: GPUs of the stage; in training each holds other sequences.
        shard: trained and frozen models in parts on the ranks (FSDP2); else each rank holds them whole (DDP).
        tensor_parallel: GPUs that one copy of a sampled model is spread over; `ranks` / it copies draw side by side.
        micro_batch: sequences in one forward pass of training.
        vllm_server: GPUs, beside the ranks, of a vLLM server that draws the completions of training.
    """

    ranks: int = 1
    shard: bool = False
    tensor_parallel: int = 1
    micro_batch: int = 1
    vllm_server: int = 0

    @property
    def gpus(self) -> int:
        """Of the whole stage."""
        return self.ranks + self.vllm_server


@dataclass(frozen=True)
class GpuMemory:
    """GiB of one rank.

    Attributes:
        weights: of the trained model; what is only sampled from is in `drawing`.
        gradients: with DDP's buckets, which are a copy of them.
        optimizer: AdamW's moments.
        frozen: teacher, or calibration target.
        gathered: full shard: layers and output layer whole while they compute, gradients before they are summed.
        activations: kept for the backward pass (gradient checkpointing: layer inputs).
        logits: the tiles of the output layers.
        drawing: generation between the steps (in turns with activations, logits and gathered), or all that a sampling
            stage holds; a reward model likewise.
        server: one GPU of a vLLM server, which holds nothing else.
    """

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    frozen: float = 0.0
    gathered: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    drawing: float = 0.0
    workspace: float = WORKSPACE_GIB
    server: float = 0.0

    @property
    def total(self) -> float:
        """GiB at the peak of the fullest GPU; of a rank: what stays, and the larger of the two turns."""
        stays = self.weights + self.gradients + self.optimizer + self.frozen + self.workspace
        rank = stays + max(self.activations + self.logits + self.gathered, self.drawing)
        return max(rank, self.server + self.workspace if self.server else 0.0)


def samples_while_training(stage: Stage) -> bool:
    """Whether it trains on completions that vLLM draws between its steps."""
    on_own = isinstance(stage, Calibrate) or (isinstance(stage, Distill) and stage.config.method == "gkd-rkl")
    return on_own and stage.config.engine == "vllm"  # type: ignore[attr-defined]


def gpu_memory(stage: Stage, layout: Layout = Layout()) -> GpuMemory:
    """The estimate, good to perhaps a fifth above toy scale."""
    if isinstance(stage, Calibrate):
        return _calibration(stage, layout)
    if isinstance(stage, Distill):
        return _distillation(stage, layout)
    if isinstance(stage, Sample | Evaluate):
        model = _of(stage.model.base_model)
        drawing = vllm_gib(model, layout.tensor_parallel) if stage.config.engine == "vllm" else _batch(model, stage)
        return GpuMemory(drawing=max(drawing, reward_model_gib(getattr(stage, "reward_model", None))))
    if isinstance(stage, Continue) and stage.after.config.engine == "vllm":
        return GpuMemory(drawing=vllm_gib(_of(stage.teacher.base_model), layout.tensor_parallel))
    values = [getattr(stage, name) for name in type(stage).model_fields]
    models = [value for value in values if isinstance(value, BaseModelRef | Calibrate | Distill)]
    return GpuMemory(frozen=sum(weights_gib(_of(model.base_model), BFLOAT16) for model in models))


def _calibration(stage: Calibrate, layout: Layout) -> GpuMemory:
    """The policy in float32 and its LoRA, both sharded; the target in bfloat16, whole; vLLM, whole, in its turn."""
    policy, target = _of(stage.teacher.base_model), _of(stage.target)
    length = stage.config.max_completion_tokens
    adapter = lora_params(policy, stage.config.lora_rank)
    parts = layout.ranks if layout.shard else 1
    return GpuMemory(
        weights=(weights_gib(policy, FLOAT32) + adapter * FLOAT32) / parts,
        gradients=adapter * _gradient_bytes(layout) / parts,
        optimizer=adapter * MOMENTS / parts,
        frozen=weights_gib(target, BFLOAT16),
        gathered=fsdp_gathered_gib(policy) if layout.shard else 0.0,
        activations=_activations(policy, layout.micro_batch, length),
        logits=_tiles(policy, layout.micro_batch * length),
        drawing=max(_drawing(policy, stage.config.engine, layout, length), reward_model_gib(stage.reward_model)),
        server=_served(stage, policy, layout),
    )


def _distillation(stage: Distill, layout: Layout) -> GpuMemory:
    """The student's weights, gradients and moments in float32, the teacher in bfloat16, all sharded; vLLM in its turn."""
    student = _of(stage.student)
    length = stage.config.max_completion_tokens
    parts = layout.ranks if layout.shard else 1
    billions = student.parameters * 1e9 / GIB
    teacher = _of(stage.teacher.base_model) if stage.config.method != "sft" else None
    whole_gradients = (_layer(student) + _output_layer(student)) * FLOAT32
    drawing = 0.0
    if stage.config.method == "gkd-rkl":
        drawing = max(_drawing(student, stage.config.engine, layout, length), reward_model_gib(stage.reward_model))
    return GpuMemory(
        weights=billions * FLOAT32 / parts,
        gradients=billions * _gradient_bytes(layout) / parts,
        optimizer=billions * MOMENTS / parts,
        frozen=weights_gib(teacher, BFLOAT16) / parts if teacher else 0.0,
        gathered=(fsdp_gathered_gib(student) + whole_gradients + (fsdp_gathered_gib(teacher) if teacher else 0.0))
        if layout.shard
        else 0.0,
        activations=_activations(student, layout.micro_batch, length),
        logits=_tiles(student, layout.micro_batch * length) * (2 if teacher else 1),
        drawing=drawing,
        server=_served(stage, student, layout),
    )


def _served(stage: Stage, model: Architecture, layout: Layout) -> float:
    return vllm_gib(model, layout.vllm_server) if layout.vllm_server and samples_while_training(stage) else 0.0


def _of(model: BaseModelRef) -> Architecture:
    return architecture(model.name)


def weights_gib(model: Architecture, bytes_each: int) -> float:
    """GiB of a whole model."""
    return model.parameters * 1e9 * bytes_each / GIB


def lora_params(model: Architecture, rank: int) -> float:
    """Billions (2**30) of parameters of adapters on all linear layers: about 7 a layer, inputs and outputs of 1 to 4 hidden
    sizes."""
    return model.layers * rank * 20 * model.hidden / GIB


def vllm_gib(model: Architecture, tensor_parallel: int = 1) -> float:
    """vLLM: a part of the weights in bfloat16, a tenth more for buffers, and a cache."""
    return 1.1 * weights_gib(model, BFLOAT16) / tensor_parallel + KV_CACHE_GIB


def reward_model_gib(reward_model: BaseModelRef | None) -> float:
    """A reward model, while it scores."""
    return weights_gib(_of(reward_model), BFLOAT16) if reward_model else 0.0


def fsdp_gathered_gib(model: Architecture) -> float:
    """Full shard: a layer at work and the next one on its way, and the output layer, which stays until the step is over; in
    bfloat16. Once more the output layer in float32, as TRL gathers one from its parts."""
    return 2 * _layer(model) * BFLOAT16 + _output_layer(model) * (BFLOAT16 + FLOAT32)


def _layer(model: Architecture) -> float:
    """2**30 parameters of one layer, at most (embeddings counted in)."""
    return model.parameters * 1e9 / GIB / model.layers


def _output_layer(model: Architecture) -> float:
    return model.vocabulary * model.hidden / GIB


def _gradient_bytes(layout: Layout) -> int:
    """DDP sums gradients in buckets, which are a second copy; FSDP2 and a single process have none."""
    return 2 * FLOAT32 if layout.ranks > 1 and not layout.shard else FLOAT32


def _activations(model: Architecture, micro_batch: int, length: int) -> float:
    """Layer inputs kept for the backward pass (gradient checkpointing), float32."""
    return micro_batch * length * model.layers * model.hidden * FLOAT32 / GIB


def _tiles(model: Architecture, tokens: int) -> float:
    return min(tokens, TILE[0]) * min(model.vocabulary, TILE[1]) * FLOAT32 / GIB


def _batch(model: Architecture, stage: Sample | Evaluate) -> float:
    """transformers: the weights, and keys and values of one batch, as wide as the hidden size at most."""
    cells = stage.config.batch_sequences * stage.config.max_completion_tokens * model.layers * model.hidden
    return weights_gib(model, FLOAT32) + 2 * cells * FLOAT32 / GIB


def _drawing(model: Architecture, engine: str, layout: Layout, length: int) -> float:
    """vLLM holds the model whole on every rank, unless a server has it, and is sent its weights one by one, gathered in
    float32."""
    if engine == "vllm":
        own = 0.0 if layout.vllm_server else vllm_gib(model)
        return own + (_output_layer(model) * FLOAT32 if layout.shard else 0.0)
    cells = 2 * layout.micro_batch * length * model.layers * model.hidden * BFLOAT16 / GIB
    return cells + (fsdp_gathered_gib(model) if layout.shard else 0.0)
