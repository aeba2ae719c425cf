"""Disk space of stages. DERIVED from parameter counts and from what the trainers keep."""

from dataclasses import dataclass

from repro.planner.architectures import Architecture, architecture
from repro.planner.gpu_memory import BFLOAT16, FLOAT32, GIB, MOMENTS, lora_params, weights_gib
from repro.planner.tokens import planned_tokens
from repro.stages import Diagnose, Stage
from repro.stages.workload import Workload

BYTES_PER_TOKEN = 7.0
"""Per token of a stored completion, DERIVED: 4 for the log-probability, which hardly compresses, 2 for the id, 1 for
the text (toy rollouts, with a few hundred ids and many duplicates, take 2.4)."""
CHECKPOINTS = 2
SMALL_GIB = 0.1
"""An artifact that only holds counts and measures."""
SCORED_BYTES = 20
"""Per scored token while a diagnosis runs: entropy and KL in its part, and copies while finding forking tokens."""
COUNTED_BYTES = 16
"""Per id and K in a part of the student's completions: a mean and a count (Eq 4)."""


@dataclass(frozen=True)
class DiskSpace:
    """GiB. artifact: kept; scratch: needed while the stage runs."""

    artifact: float
    scratch: float


def disk_space(stage: Stage) -> DiskSpace:
    """Estimate the disk that one stage takes."""
    workload = stage.workload
    if workload.trains and workload.main is not None:
        model = architecture(workload.main.base_model.name)
        saved, start = weights_gib(model, FLOAT32), _engine_start_gib(workload, model)
        if workload.output_layer_only:
            head = model.vocabulary * model.hidden / GIB
            return DiskSpace(saved + head * FLOAT32, CHECKPOINTS * (saved + head * (FLOAT32 + MOMENTS)))
        if workload.lora_rank is None:
            return DiskSpace(saved, start + CHECKPOINTS * weights_gib(model, FLOAT32 + MOMENTS))
        return DiskSpace(saved, start + CHECKPOINTS * lora_params(model, workload.lora_rank) * (FLOAT32 + MOMENTS))
    if isinstance(stage, Diagnose):
        return DiskSpace(SMALL_GIB, SMALL_GIB + _parts_gib(stage))
    stored = planned_tokens(stage) * BYTES_PER_TOKEN / GIB if workload.writes_rollouts else SMALL_GIB
    return DiskSpace(stored, stored)


def _engine_start_gib(workload: Workload, model: Architecture) -> float:
    """Return GiB of the copy that vLLM starts from in training, if what is trained is not the model's folder."""
    frozen = architecture(workload.frozen.base_model.name) if workload.frozen and workload.frozen_in_step else model
    is_copied = model.has_tower or model.vocabulary > frozen.vocabulary
    return weights_gib(model, BFLOAT16) if workload.samples_while_training and is_copied else 0.0


def _parts_gib(stage: Diagnose) -> float:
    """Return GiB of a diagnosis's finished parts, which are kept until it ends."""
    vocabulary = architecture(stage.student.base_model.name).vocabulary
    blocks = stage.config.contribution_blocks * len(stage.data)
    counted = 0 if stage.across_tokenizers else blocks * (len(stage.config.ks) + 2) * vocabulary * COUNTED_BYTES
    return (planned_tokens(stage) * SCORED_BYTES + counted) / GIB


def download_gib(stages: list[Stage]) -> float:
    """Return GiB of the weights to download, bfloat16, each model counted once."""
    return sum(map(model_gib, {model.name for stage in stages for model in stage.base_models() if not model.is_local}))


def model_gib(name: str) -> float:
    """Return GiB of a model's weights as published, bfloat16."""
    return weights_gib(architecture(name), BFLOAT16)


def disk_gib(stages: list[Stage]) -> float:
    """Return GiB that a study needs: every artifact, the largest scratch, downloads."""
    spaces = [disk_space(stage) for stage in stages]
    scratch = max((space.scratch for space in spaces), default=0.0)
    return sum(space.artifact for space in spaces) + scratch + download_gib(stages)
