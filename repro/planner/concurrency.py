"""How many completions vLLM samples concurrently: its key-value cache divided by one sequence's.

DERIVED from the memory estimate (`planner.gpu_memory`) with the share of the GPU that vLLM gets at run time
(`training.vllm_memory` next to a trainer, else `generation.gpu_share`).
"""

from repro.generation.gpu_share import own_share
from repro.planner.architectures import Architecture, architecture
from repro.planner.gpu_memory import gpu_memory
from repro.planner.resources import ONE_GPU, Layout
from repro.stages import Stage
from repro.training.vllm_memory import BFLOAT16, GIB, cache_bytes, engine_weights

MAX_SEQUENCES = 256
"""vLLM's default limit on sequences per step on most GPUs (1,024 on the largest); TRL sets another in training."""


def cache_per_sequence(model: Architecture, tokens: int) -> int:
    """Return the bytes of one sequence's keys and values, in bfloat16."""
    token = 2 * model.kv_heads * model.head_size * BFLOAT16
    near = min(tokens, model.window) if model.window else tokens
    return token * ((model.layers - model.local_layers) * tokens + model.local_layers * near)


def sequences_at_once(stage: Stage, card_gib: float, tokens: int, layout: Layout = ONE_GPU) -> int:
    """Return how many completions of a stage one vLLM engine samples concurrently, at least 1.

    Args:
        stage: a stage that samples with vLLM.
        card_gib: memory of each GPU.
        tokens: tokens per sequence, including the prompt.
    """
    workload = stage.workload
    assert workload.main is not None
    model = architecture(workload.main.base_model.name)
    parameters, total = model.parameters * 1e9, card_gib * GIB
    if workload.samples_while_training and not layout.vllm_server:
        memory = gpu_memory(stage, layout)
        trainer = memory.weights + memory.gradients + memory.optimizer + memory.frozen
        cache = cache_bytes(total, total, trainer * GIB, parameters)
    else:
        spread = layout.vllm_server or layout.tensor_parallel
        share = own_share(card_gib, card_gib, receives_weights=bool(layout.vllm_server))
        cache = spread * share * total - engine_weights(parameters)
    most = workload.sequences_per_step // layout.ranks if workload.trains else MAX_SEQUENCES
    return max(1, min(int(cache // cache_per_sequence(model, tokens)), most))
