"""Hours of a study on one GPU, from the bottom up: tokens, weights to read, products to compute.

Table 5 cannot give these: its data sizes are lost, a card of 24 GB is no H100, and it has no line for scoring stored
completions. DERIVED from data sheets and parameter counts, with ASSUMED efficiencies, and every completion as long as its
cap: an upper bound, good to a factor of two.
"""

from dataclasses import dataclass, replace

from repro.models.padded_batches import FORWARD_TOKENS
from repro.planner.architectures import Architecture, architecture
from repro.planner.concurrency import sequences_at_once
from repro.planner.tokens import planned_tokens
from repro.recipes.study import Study
from repro.stages import Stage
from repro.stages.references import Model

NIGHT_HOURS = 10.0


@dataclass(frozen=True)
class Card:
    """A data sheet: memory bandwidth in bytes a second, dense bfloat16 products in floating-point operations a second.

    gib: memory that CUDA reports.
    """

    bandwidth: float
    flops: float
    gib: float


H100 = Card(3.35e12, 989e12, 79.2)
CARDS = {"24 GB (RTX 3090)": Card(0.936e12, 71e12, 23.6), "80 GB (H100 SXM)": H100}

BATCH = 64
"""ASSUMED: sequences that vLLM decodes together, on average over a stage whose cache and step hold more."""
DECODING = 0.25
"""ASSUMED: share of the bandwidth that decoding reaches over a complete stage: caches are read too, batches run empty."""
TRAINING = 0.3
"""ASSUMED: share of the card's products that small micro-batches reach."""
SCORING = 0.5
"""ASSUMED: share of the card's products that forward passes over thousands of tokens reach."""
STREAMING = 0.7
"""ASSUMED: share of the bandwidth that scoring reaches: long reads of weights, caches and logits."""
LOGIT_PASSES = 29
"""DERIVED: reads and writes of each float32 logit by a diagnosis's statistics, kernel by kernel; a fused kernel makes fewer."""
PROMPT_SHARE = 1.4
"""ASSUMED: tokens of prompt and completion per completion token."""
START_SECONDS = 120
"""ASSUMED: loading, engine start, saving."""


def hours_on_card(study: Study, card: Card) -> float:
    """Return an upper bound of the study's hours on one such card."""
    return sum(stage_seconds(stage, card) for stage in study.stages()) / 3600


def stage_seconds(stage: Stage, card: Card) -> float:
    """Return an upper bound of the stage's seconds: sampling limited by bandwidth, training by products, scoring by either.

    Above `Passes.flops`, training recomputes its activations (2 N a token), and a KL anchor is one more forward pass (2 N).
    """
    workload = stage.workload
    if workload.scores_in_parts:
        return scoring_seconds(stage, card)
    main, frozen = _parameters(workload.main), _parameters(workload.frozen)
    passes = workload.passes
    recomputed = passes.trained + (1 if workload.kl_anchor else 0)
    flops = replace(passes, sampled=0, scored=passes.scored + recomputed).flops(main, frozen)
    tokens = planned_tokens(stage)
    sampling = tokens * passes.sampled * _seconds_per_token(stage, main, card)
    return sampling + tokens * PROMPT_SHARE * flops / (TRAINING * card.flops) + START_SECONDS


def scoring_seconds(stage: Stage, card: Card) -> float:
    """Return an upper bound of the seconds in which both models of a diagnosis score its completions.

    Each model's layers, then its output layer, are limited by their products or by their bytes, whichever takes longer.
    """
    completion_tokens = planned_tokens(stage)
    length = PROMPT_SHARE * stage.workload.max_completion_tokens
    seconds = float(START_SECONDS)
    for model in (stage.workload.main, stage.workload.frozen):
        if model is not None:
            sizes = architecture(model.base_model.name)
            seconds += completion_tokens * PROMPT_SHARE * _layer_seconds(sizes, length, card)
            seconds += completion_tokens * _head_seconds(sizes, card)
    return seconds


def _layer_seconds(model: Architecture, length: float, card: Card) -> float:
    """Return seconds of the layers per token of prompt or completion.

    Products: 2 per weight, and 4 per layer, hidden unit and position that attention looks back to, half of `length` on
    average. Bytes: the weights, once for each forward pass of `FORWARD_TOKENS`; keys and values, at most as wide as the hidden
    size, written once and read once.
    """
    weights = model.parameters * 1e9 - model.vocabulary * model.hidden
    flops = 2 * weights + 4 * model.layers * model.hidden * length / 2
    cache_bytes = 2 * 2 * 2 * model.layers * model.hidden
    return _limit(flops, 2 * weights / FORWARD_TOKENS + cache_bytes, card)


def _head_seconds(model: Architecture, card: Card) -> float:
    """Return seconds of the output layer and its statistics per token of a completion; half of the logits are each model's."""
    return _limit(2 * model.vocabulary * model.hidden, LOGIT_PASSES / 2 * 4 * model.vocabulary, card)


def _limit(flops: float, bytes_moved: float, card: Card) -> float:
    return max(flops / (SCORING * card.flops), bytes_moved / (STREAMING * card.bandwidth))


def _parameters(model: Model | None) -> float:
    return architecture(model.base_model.name).parameters * 1e9 if model else 0.0


def _seconds_per_token(stage: Stage, parameters: float, card: Card) -> float:
    """Return seconds of decoding one token: each step reads the weights once for all sequences in flight."""
    if not stage.workload.samples:
        return 0.0
    tokens = round(PROMPT_SHARE * stage.workload.max_completion_tokens)
    in_flight = min(BATCH, sequences_at_once(stage, card.gib, tokens))
    return 2 * parameters / (card.bandwidth * DECODING * in_flight)
