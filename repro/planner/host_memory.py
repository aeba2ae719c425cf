"""Host memory of a stage on GPUs at its peak, all its processes together. DERIVED from parameter counts and from how models
are loaded and saved; on the CPU, MEASURED for the parts (docs/scale.md).

safetensors files are mapped: weights that are loaded in the type that they are stored in take no memory of their own, and
the ranks share what the kernel caches of them. Weights of another type are converted before they go to the GPU: the
published bfloat16 into float32 for training, our own float32 artifacts into bfloat16 for scoring. Every rank does that at
once, for nothing tells them to take turns.
"""

from dataclasses import dataclass
from typing import Any

from repro.planner.architectures import architecture
from repro.planner.gpu_memory import BFLOAT16, FLOAT32, Layout, weights_gib
from repro.recipes.assumed import assumed
from repro.stages import BaseModelRef, Calibrate, Continue, Distill, Evaluate, Sample, Stage


@dataclass(frozen=True)
class HostMemory:
    """GiB.

    Attributes:
        processes: that hold as much.
        loading: converted weights of each, before they lie on its GPU.
        saving: the whole trained model, on the first of them.
        beside: processes of a vLLM server, which map what they read.
    """

    processes: int
    loading: float
    saving: float = 0.0
    beside: int = 0

    @property
    def total(self) -> float:
        """Of the node: what every process takes anyway, and the larger of the two moments."""
        every = (self.processes + self.beside) * assumed("host GiB of a process")
        return every + max(self.processes * self.loading, self.saving)


def host_memory(stage: Stage, layout: Layout) -> HostMemory:
    """The estimate for one stage."""
    beside = layout.vllm_server + 2 if layout.vllm_server else 0  # its front, its engine, and a worker for each GPU
    if isinstance(stage, Calibrate):
        policy = _gib(stage.teacher, FLOAT32)  # hub weights lie there in bfloat16
        return HostMemory(layout.ranks, policy + _converted(stage.target), policy, beside)
    if isinstance(stage, Distill):
        student = _gib(stage.student, FLOAT32)
        teacher = _converted(stage.teacher) if stage.config.method != "sft" else 0.0
        return HostMemory(layout.ranks, student + teacher, student, beside)
    if isinstance(stage, Sample | Evaluate):  # the engines map; afterwards one process scores some completions again
        converted = _converted(stage.model)
        return HostMemory(layout.ranks + 1, 0.0 if stage.config.engine == "vllm" else converted, converted)
    if isinstance(stage, Continue):
        return HostMemory(layout.ranks + 1, 0.0)
    values = [getattr(stage, name) for name in type(stage).model_fields]
    models = [value for value in values if isinstance(value, BaseModelRef | Calibrate | Distill)]
    return HostMemory(1, max(map(_converted, models), default=0.0))  # one after the other


def _gib(model: Any, bytes_each: int) -> float:
    return weights_gib(architecture(model.base_model.name), bytes_each)


def _converted(model: Any) -> float:
    """GiB of a model that is scored with: a published one lies there in bfloat16, one of ours in float32."""
    return 0.0 if isinstance(model, BaseModelRef) else _gib(model, BFLOAT16)
