"""Host memory of a stage on GPUs at its peak, all its processes together.

DERIVED from parameter counts and from how models are loaded and saved; on the CPU, MEASURED for the parts (docs/scale.md).

safetensors files are mapped: weights that are loaded in the type that they are stored in take no further memory, and
the ranks share what the kernel caches of them. Weights of another type are converted before they go to the GPU: the
published bfloat16 into float32 for training, our own float32 artifacts into bfloat16 for scoring. Every rank does that at
once, since nothing makes them take turns. A reward model is mapped too: its weights go to the GPU and never come back.
"""

from dataclasses import dataclass

from repro.planner.architectures import architecture
from repro.planner.gpu_memory import BFLOAT16, FLOAT32, GIB, weights_gib
from repro.planner.model_memory import matching_gib
from repro.planner.resources import Layout
from repro.recipes.assumed import assumed
from repro.stages import Stage
from repro.stages.references import Model

SAMPLED_TOKEN_BYTES = 220
"""Of a chunk's completions until they are written. MEASURED: vLLM's flat log-probabilities with ids, ours, and the table."""
STEP_TOKEN_BYTES = 570
"""Of an on-policy step's completions. MEASURED: 410 for vLLM's log-probabilities as dictionaries, which TRL asks for. DERIVED:
160 for the lists that it makes of each."""


@dataclass(frozen=True)
class HostMemory:
    """Host memory of a stage, GiB.

    Attributes:
        processes: number of processes that load models.
        loading: converted weights in each process, before they are on its GPU.
        saving: the complete trained model, in the first process; beside it, what matches a KL where shards stay on the GPUs.
        completions: sampled completions with their log-probabilities, in all processes together.
        server_processes: processes of a vLLM server, which maps its weights and so holds none.
    """

    processes: int
    loading: float
    saving: float = 0.0
    completions: float = 0.0
    server_processes: int = 0

    @property
    def total(self) -> float:
        """GiB of the node: the base of every process, plus the largest of loading, sampling and saving."""
        base = (self.processes + self.server_processes) * assumed("host GiB of a process")
        return base + max(self.processes * self.loading, self.completions, self.saving)


def host_memory(stage: Stage, layout: Layout) -> HostMemory:
    """Estimate the host memory of one stage."""
    workload = stage.workload
    if workload.main is None:
        return HostMemory(1, 0.0)
    frozen = _converted(workload.frozen) if workload.frozen else 0.0
    if workload.trains:
        server = layout.vllm_server + 2 if layout.vllm_server else 0  # its front, its engine, and a worker for each GPU
        trained = _gib(workload.main, FLOAT32)  # weights from the hub are stored in bfloat16
        step = workload.sequences_per_step * workload.max_completion_tokens * STEP_TOKEN_BYTES / GIB
        completions = step if workload.samples_while_training else 0.0
        matching = 0.0
        if workload.matches_kl and layout.shard:
            matching = matching_gib(architecture(workload.main.base_model.name))
        return HostMemory(layout.ranks, trained + frozen, trained + matching, completions, server)
    converted = _converted(workload.main)
    if not workload.samples:
        merging = 1 if layout.ranks > 1 else 0  # a process that joins the parts
        return HostMemory(layout.ranks + merging, max(converted, frozen))  # one after the other
    loading = 0.0 if workload.engine == "vllm" or not workload.batch_sequences else converted
    # vLLM maps; afterwards one process scores some completions again
    chunk = workload.batch_sequences * workload.max_completion_tokens * SAMPLED_TOKEN_BYTES / GIB
    completions = (layout.ranks // layout.tensor_parallel) * chunk
    return HostMemory(layout.ranks + 1, loading, converted if workload.writes_rollouts else 0.0, completions)


def _gib(model: Model, bytes_each: int) -> float:
    return weights_gib(architecture(model.base_model.name), bytes_each)


def _converted(model: Model) -> float:
    """Return GiB of a scoring model that is converted: a published one is stored in bfloat16, one of ours in float32."""
    return 0.0 if model.folder_name is None else _gib(model, BFLOAT16)
