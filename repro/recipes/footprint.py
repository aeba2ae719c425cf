"""Memory and disk of a stage before it runs. DERIVED from parameter counts and from how the trainers keep them."""

from dataclasses import dataclass

from repro.pipeline.stages import BaseModelRef, Calibrate, Distill, Evaluate, Sample, Stage, base_of
from repro.recipes.architectures import Architecture, architecture

GIB = 2**30
FLOAT32, BFLOAT16 = 4, 2
TRAINED = 4 * FLOAT32
"""Bytes per trained parameter: weight, gradient, and AdamW's two moments, all float32."""
CACHE_GIB = 6.0
"""Least key-value cache beside vLLM's weights (`training.vllm_policy`)."""
WORKSPACE_GIB = 2.0
"""CUDA's own context, one layer's recomputed activations, one chunk of the output layer."""
BYTES_PER_TOKEN = 7.0
"""Of a stored completion, DERIVED: 4 of its log-probability, which hardly compresses, 2 of its id, 1 of its text (toy rollouts,
of a few hundred ids and many alike, take 2.4)."""
CHECKPOINTS = 2


@dataclass(frozen=True)
class Footprint:
    """GiB. memory: peak on one GPU (of the process without one); disk: what the artifact keeps; scratch: while it runs."""

    memory: float
    disk: float
    scratch: float


def footprint(stage: Stage, micro_batch: int, tokens: float) -> Footprint:
    """An estimate, good to perhaps a fifth above toy scale.

    Args:
        micro_batch: sequences in one forward of training.
        tokens: upper bound on the completion tokens that the stage draws.
    """
    if isinstance(stage, Calibrate):
        return _calibration(stage, micro_batch)
    if isinstance(stage, Distill):
        return _distillation(stage, micro_batch)
    if isinstance(stage, Sample | Evaluate):
        model = _of(base_of(stage.model))
        drawing = _serving(model) if stage.config.engine == "vllm" else _batch(model, stage)
        memory = max(drawing, _scoring(getattr(stage, "reward_model", None))) + WORKSPACE_GIB
        stored = tokens * BYTES_PER_TOKEN / GIB
        return Footprint(memory, stored, stored)
    scored = [_weights(_of(base_of(value)), BFLOAT16) for value in _models(stage)]
    return Footprint(sum(scored) + WORKSPACE_GIB, 0.1, 0.1)


def _calibration(stage: Calibrate, micro_batch: int) -> Footprint:
    """The policy and its LoRA in float32; the target in bfloat16; vLLM and the reward model beside them in turns."""
    policy = _of(base_of(stage.teacher))
    length = stage.config.max_completion_tokens
    still = _weights(policy, FLOAT32) + _weights(_of(stage.target), BFLOAT16) + _lora(policy, stage.config.lora_rank)
    turns = max(
        _activations(policy, micro_batch, length),
        _drawing(policy, stage.config.engine, micro_batch, length),
        _scoring(stage.reward_model),
    )
    scratch = CHECKPOINTS * _lora(policy, stage.config.lora_rank)
    return Footprint(still + turns + WORKSPACE_GIB, _weights(policy, FLOAT32), scratch)


def _distillation(stage: Distill, micro_batch: int) -> Footprint:
    student = _of(stage.student)
    length = stage.config.max_completion_tokens
    still = _weights(student, TRAINED)
    if stage.config.method != "sft":
        still += _weights(_of(base_of(stage.teacher)), BFLOAT16)
    drawing = 0.0
    if stage.config.method == "gkd-rkl":
        drawing = _drawing(student, stage.config.engine, micro_batch, length)
        drawing = max(drawing, _scoring(stage.reward_model))
    memory = still + max(_activations(student, micro_batch, length), drawing) + WORKSPACE_GIB
    return Footprint(memory, _weights(student, FLOAT32), CHECKPOINTS * _weights(student, 3 * FLOAT32))


def _models(stage: Stage) -> list[BaseModelRef | Calibrate | Distill]:
    values = [getattr(stage, name) for name in type(stage).model_fields]
    return [value for value in values if isinstance(value, BaseModelRef | Calibrate | Distill)]


def _of(model: BaseModelRef) -> Architecture:
    return architecture(model.name)


def _weights(model: Architecture, bytes_each: int) -> float:
    return model.parameters * 1e9 * bytes_each / GIB


def _lora(model: Architecture, rank: int) -> float:
    """Adapters on all linear layers (about 7 a layer, inputs and outputs of 1 to 4 hidden sizes), trained."""
    return model.layers * rank * 20 * model.hidden * TRAINED / GIB


def _scoring(reward_model: BaseModelRef | None) -> float:
    return _weights(_of(reward_model), BFLOAT16) if reward_model else 0.0


def _activations(model: Architecture, micro_batch: int, length: int) -> float:
    """Layer inputs kept for the backward pass (gradient checkpointing), float32."""
    return micro_batch * length * model.layers * model.hidden * FLOAT32 / GIB


def _serving(model: Architecture) -> float:
    return 1.1 * _weights(model, BFLOAT16) + CACHE_GIB


def _batch(model: Architecture, stage: Sample | Evaluate) -> float:
    """transformers: the weights, and keys and values of one batch, as wide as the hidden size at most."""
    cells = stage.config.batch_sequences * stage.config.max_completion_tokens * model.layers * model.hidden
    return _weights(model, FLOAT32) + 2 * cells * FLOAT32 / GIB


def _drawing(model: Architecture, engine: str, micro_batch: int, length: int) -> float:
    if engine == "vllm":
        return _serving(model)
    return 2 * micro_batch * length * model.layers * model.hidden * BFLOAT16 / GIB


def download_gib(stages: list[Stage]) -> float:
    """Weights from the hub, bfloat16, each once."""
    names = {m.name for stage in stages for m in stage.base_models() if not m.revision.startswith("sha256:")}
    return sum(_weights(architecture(name), BFLOAT16) for name in names)


def disk_gib(stages: list[Stage], tokens: dict[str, float]) -> float:
    """What a whole study needs: every artifact, the largest scratch, downloads.

    Args:
        tokens: of each stage, by fingerprint.
    """
    sizes = [footprint(stage, 1, tokens[stage.fingerprint]) for stage in stages]
    return sum(one.disk for one in sizes) + max((one.scratch for one in sizes), default=0.0) + download_gib(stages)
