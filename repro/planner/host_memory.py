"""Peak host memory of a stage on GPUs, over all its processes.

DERIVED from parameter counts and from how models are loaded and saved; on the CPU, MEASURED for the parts (docs/scale.md).

safetensors files are memory-mapped: weights loaded in their stored dtype take no extra memory, and the ranks share the
kernel's page cache. Weights of another dtype are converted before they go to the GPU: published bfloat16 to float32 for
training, our own float32 artifacts to bfloat16 for scoring. All ranks convert at the same time, since nothing makes
them take turns. A reward model is mapped too: its weights go to the GPU and never come back.
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
"""For a chunk's completions until written. MEASURED: vLLM's flat log-probabilities with ids, ours, and the table."""
STEP_TOKEN_BYTES = 570
"""For an on-policy step's completions. MEASURED: 410 for vLLM's log-probabilities as dictionaries, which TRL requests.
DERIVED: 160 for the lists TRL makes from them."""


@dataclass(frozen=True)
class HostMemory:
    """Host memory of a stage, GiB.

    Attributes:
        processes: number of processes that load models.
        loading: converted weights per process, before they move to its GPU.
        saving: the complete trained model, in the first process; plus KL matching, if shards stay on the GPUs.
        completions: sampled completions with their log-probabilities, in all processes together.
        server_processes: processes of a vLLM server, which maps its weights and so needs no memory for them.
    """

    processes: int
    loading: float
    saving: float = 0.0
    completions: float = 0.0
    server_processes: int = 0

    @property
    def total(self) -> float:
        """GiB on the node: every process's base plus the largest of loading, sampling and saving."""
        base = (self.processes + self.server_processes) * assumed("host GiB of a process")
        return base + max(self.processes * self.loading, self.completions, self.saving)


def host_memory(stage: Stage, layout: Layout) -> HostMemory:
    """Estimate the host memory of one stage."""
    workload = stage.workload
    if workload.main is None:
        return HostMemory(1, 0.0)
    frozen = _converted(workload.frozen) if workload.frozen else 0.0
    if workload.trains:
        server = layout.vllm_server + 2 if layout.vllm_server else 0  # front end, engine, and one worker per GPU
        trained = _gib(workload.main, FLOAT32)  # weights from the hub are stored in bfloat16
        step = workload.sequences_per_step * workload.max_completion_tokens * STEP_TOKEN_BYTES / GIB
        completions = step if workload.samples_while_training else 0.0
        matching = 0.0
        if workload.matches_kl and layout.shard:
            matching = matching_gib(architecture(workload.main.base_model.name))
        return HostMemory(layout.ranks, trained + frozen, trained + matching, completions, server)
    converted = _converted(workload.main)
    if not workload.samples:
        merging = 1 if layout.ranks > 1 else 0  # one process that joins the parts
        return HostMemory(layout.ranks + merging, max(converted, frozen))  # one after the other
    loading = 0.0 if workload.engine == "vllm" or not workload.batch_sequences else converted
    # vLLM maps its weights; afterwards one process rescores some completions
    chunk = workload.batch_sequences * workload.max_completion_tokens * SAMPLED_TOKEN_BYTES / GIB
    completions = (layout.ranks // layout.tensor_parallel) * chunk
    return HostMemory(layout.ranks + 1, loading, converted if workload.writes_rollouts else 0.0, completions)


def _gib(model: Model, bytes_each: int) -> float:
    return weights_gib(architecture(model.base_model.name), bytes_each)


def _converted(model: Model) -> float:
    """Return GiB of a scoring model that need conversion: published ones are stored in bfloat16, ours in float32."""
    return 0.0 if model.folder_name is None else _gib(model, BFLOAT16)
