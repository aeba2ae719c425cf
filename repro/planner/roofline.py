"""GPU-seconds of a stage: the only model of hours, from a stage's workload and a card's data sheet.

Sampling is bound by the bytes of weights and caches each step reads for the completions in flight, or by the host;
prompts, training and scoring by FLOPs; a diagnosis's statistics by the bytes of its logits. A stage that needs several
cards is divided over them without loss (which `planner.forecast` adds). DERIVED, with the
efficiencies below and every completion at its length cap. A factor per kind of stage, measured on records, corrects it
(`planner.corrections`).
"""

import functools
import math

from repro.calibration import kl_match_size
from repro.models.padded_batches import FORWARD_TOKENS
from repro.planner.architectures import Architecture, architecture
from repro.planner.cards import CPU_CORE, Card
from repro.planner.concurrency import cache_per_sequence, sequences_at_once
from repro.planner.placement import NODE, Cards, place
from repro.planner.resources import MICRO_BATCH, Layout
from repro.planner.tokens import planned_sequences
from repro.recipes.assumed import assumed
from repro.stages import Stage
from repro.stages.references import Model
from repro.training.optimisation import LARGE
from repro.training.vllm_memory import FLOAT32

DECODING = 0.5
"""ASSUMED: share of peak bandwidth that sampling reaches over a whole stage; batches drain at the end."""
TRAINING = 0.4
"""ASSUMED: share of peak FLOPS that training reaches between launches."""
SCORING = 0.3
"""MEASURED on one H100: share of peak FLOPS of a forward pass over thousands of tokens, padding included (a reward
model as wide as Llama-3.1-8B, 256 texts of 300 and 2,400 tokens)."""
HEAD = 0.7
"""MEASURED on one H100: share of peak FLOPS that two output layers reach by themselves."""
STREAMING = 0.7
"""ASSUMED: share of peak bandwidth that long reads of logits reach."""
LOGIT_PASSES = 7.5
"""MEASURED on one H100: float32 reads and writes per logit of one model, besides the matmul, at that bandwidth (3.25 us
a position for two models of 151,936 ids; the matmuls take 1.35)."""
RULES_SECONDS = 0.8
"""MEASURED: a stage without a model on one core, including file I/O."""
TOY_PROMPT = 24
"""MEASURED: tokens of a toy prompt, rounded."""
BATCH = 1024
"""Sequences per transformers sampling batch if the stage's configuration does not say."""

KL_MEASUREMENTS = 6
"""ASSUMED: KL measurements of a KL-matched calibration: the reference's, its own, and four halvings of its update (at
most 12)."""


def stage_seconds(stage: Stage, card: Card) -> float:
    """Return the seconds of a stage over the cards of its layout in a node of such cards, without process startup.

    Not counted: reward models, grading, a diagnosis's bootstrap, gradients along which models are moved, and the check
    of vLLM's log-probabilities.
    """
    key = (stage.fingerprint, card)
    if key not in _known:
        on_gpu = stage.workload.uses_gpu and card != CPU_CORE
        layout = place(stage, Cards(NODE, card.gib)).layout if on_gpu else Layout(micro_batch=MICRO_BATCH)
        _known[key] = _stage_seconds(stage, card, layout)
    return _known[key]


_known: dict[tuple[str, Card], float] = {}
"""Studies share most of their stages."""


def _stage_seconds(stage: Stage, card: Card, layout: Layout) -> float:
    workload = stage.workload
    main = _sizes(workload.main)
    if main is None:
        return RULES_SECONDS
    frozen, passes, sequences = _sizes(workload.frozen), workload.passes, planned_sequences(stage)
    completion = workload.max_completion_tokens
    length = completion + (assumed("prompt tokens") if workload.uses_gpu else TOY_PROMPT)
    if workload.trains:
        at_once = layout.micro_batch if workload.uses_gpu else workload.sequences_per_step
    else:
        at_once = max(1, FORWARD_TOKENS // length)
    seconds = card.load_seconds
    if workload.samples:
        seconds += passes.sampled * _sampling(stage, main, sequences, length, card, layout)
    if frozen is not None and workload.proxies:
        seconds += workload.proxies * _sampling(stage, frozen, sequences, length, card, layout, value_bytes=FLOAT32)
    if workload.matches_kl and workload.uses_gpu:
        seconds += KL_MEASUREMENTS * _measuring_kl(main, completion, length, card)
    scored = passes.scored + (1 if workload.kl_anchor else 0)
    for model, times in ((main, scored), (frozen, 0 if workload.proxies else passes.frozen)):
        if model is not None and times:
            seconds += times * sequences * _scoring(model, completion, length, card)
            seconds += times * sequences / at_once * model.layers * card.layer_seconds
    if workload.trains:
        is_recomputed = main.parameters * 1e9 >= LARGE and not workload.output_layer_only
        forwards = 3 - (workload.lora_rank is not None) + is_recomputed
        layer_forwards = 1 if workload.output_layer_only else forwards
        layers = _layer_flops(main, length) * length * (layer_forwards / forwards)
        seconds += forwards * sequences * (layers + _head_flops(main) * completion) / (TRAINING * card.flops)
        seconds += layer_forwards * sequences / at_once * main.layers * card.layer_seconds
    return seconds


def _sizes(model: Model | None) -> Architecture | None:
    return None if model is None else _sizes_at(model.base_model.name, model.base_model.revision)


@functools.cache
def _sizes_at(name: str, revision: str) -> Architecture:
    """Return a model's sizes, read once per revision: a plan has thousands of stages."""
    return architecture(name)


def _sampling(
    stage: Stage,
    model: Architecture,
    sequences: int,
    length: int,
    card: Card,
    layout: Layout,
    *,
    value_bytes: int | None = None,
) -> float:
    """Return the seconds of sampling, over all cards; each step reads the weights and the caches of all sequences in flight.

    Args:
        layout: each copy of the model has its own sequences in flight.
        value_bytes: bytes per weight or cached value; None for the card's.
    """
    workload = stage.workload
    is_vllm = workload.engine == "vllm"
    completion = workload.max_completion_tokens
    if is_vllm:
        most = sequences_at_once(stage, card.gib, length - completion // 2, layout)
    else:
        in_step = workload.sequences_per_step // layout.ranks
        most = in_step if workload.trains else workload.batch_sequences or BATCH
    in_flight = max(1, min(most, sequences))
    steps = completion * sequences / in_flight
    if not is_vllm:
        steps = completion * math.ceil(sequences / in_flight)
    host = layout.tensor_parallel * in_flight * card.token_seconds if is_vllm else 0.0
    launched = 0.0 if is_vllm else model.layers * card.layer_seconds
    step = _decoding(model, in_flight, length - completion // 2, card, value_bytes or card.value_bytes)
    prompts = sequences * (length - completion) * _layer_flops(model, length) / (SCORING * card.flops)
    return steps * (max(step, host) + launched) + prompts


def _decoding(model: Architecture, in_flight: int, tokens: int, card: Card, value_bytes: int) -> float:
    """Return the seconds of one sampling step, without the host: bound by its reads or its FLOPs.

    Args:
        tokens: of a sequence so far, prompt included.
        value_bytes: bytes per weight or cached value.
    """
    cache = cache_per_sequence(model, tokens) * value_bytes / 2
    read = (value_bytes * model.parameters * 1e9 + in_flight * cache) / (DECODING * card.bandwidth)
    return max(read, in_flight * 2 * model.parameters * 1e9 / (SCORING * card.flops))


def _measuring_kl(model: Architecture, completion: int, length: int, card: Card) -> float:
    """Return the seconds of measuring a calibration's KL on a GPU: sample completions in batches, score one by one.

    Args:
        completion, length: maximum tokens in training, without and with the prompt.
    """
    tokens = min(kl_match_size.TOKENS, completion)
    length -= completion - tokens
    sequences = kl_match_size.PROMPTS * kl_match_size.COMPLETIONS
    in_flight = max(1, int(kl_match_size.SAMPLED_TOKENS // length))
    launched = model.layers * card.layer_seconds
    step = _decoding(model, in_flight, length - tokens // 2, card, FLOAT32) + launched
    scored = 2 * sequences * (_scoring(model, tokens, length, card) + launched)
    return tokens * math.ceil(sequences / in_flight) * step + scored


def _scoring(model: Architecture, completion: int, length: int, card: Card) -> float:
    """Return the seconds of one sequence's forward pass, including its completion's log-probabilities."""
    layers = length * _layer_flops(model, length) / (SCORING * card.flops)
    logits = LOGIT_PASSES * 4 * model.vocabulary / (STREAMING * card.bandwidth)
    return layers + completion * (_head_flops(model) / (HEAD * card.flops) + logits)


def _layer_flops(model: Architecture, length: int) -> float:
    """Return FLOPs of all layers per token: 2 per weight, and 4 per layer, query unit and attended position.

    On average, a token attends to half of the sequence.
    """
    weights = model.parameters * 1e9 - model.vocabulary * model.hidden
    near = min(length, model.window) if model.window else length
    positions = (model.layers - model.local_layers) * length / 2 + model.local_layers * min(near, length / 2)
    return 2 * weights + 4 * model.queries * positions


def _head_flops(model: Architecture) -> float:
    """Return FLOPs of the output layer per token."""
    return 2 * model.vocabulary * model.hidden
