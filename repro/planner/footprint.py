"""Memory and disk of a stage before it runs. DERIVED from parameter counts and from how the trainers keep them."""

from dataclasses import dataclass

from repro.planner.architectures import architecture
from repro.planner.gpu_memory import BFLOAT16, FLOAT32, GIB, MOMENTS, Layout, gpu_memory, lora_params, weights_gib
from repro.stages import Calibrate, Distill, Evaluate, Sample, Stage

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


def footprint(stage: Stage, layout: Layout, tokens: float) -> Footprint:
    """An estimate, good to perhaps a fifth above toy scale.

    Args:
        layout: how the stage lies on its GPUs.
        tokens: upper bound on the completion tokens that the stage draws.
    """
    memory = gpu_memory(stage, layout).total
    if isinstance(stage, Calibrate):
        policy = architecture(stage.teacher.base_model.name)
        trained = lora_params(policy, stage.config.lora_rank) * (FLOAT32 + MOMENTS)
        return Footprint(memory, weights_gib(policy, FLOAT32), CHECKPOINTS * trained)
    if isinstance(stage, Distill):
        student = architecture(stage.student.name)
        return Footprint(memory, weights_gib(student, FLOAT32), CHECKPOINTS * weights_gib(student, FLOAT32 + MOMENTS))
    if isinstance(stage, Sample | Evaluate):
        stored = tokens * BYTES_PER_TOKEN / GIB
        return Footprint(memory, stored, stored)
    return Footprint(memory, 0.1, 0.1)


def download_gib(stages: list[Stage]) -> float:
    """Weights from the hub, bfloat16, each once."""
    names = {m.name for stage in stages for m in stage.base_models() if not m.revision.startswith("sha256:")}
    return sum(weights_gib(architecture(name), BFLOAT16) for name in names)


def disk_gib(stages: list[Stage], tokens: dict[str, float]) -> float:
    """What a whole study needs: every artifact, the largest scratch, downloads.

    Args:
        tokens: of each stage, by fingerprint.
    """
    sizes = [footprint(stage, Layout(), tokens[stage.fingerprint]) for stage in stages]
    return sum(one.disk for one in sizes) + max((one.scratch for one in sizes), default=0.0) + download_gib(stages)
