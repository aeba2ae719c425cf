"""Hours of scoring stored completions on one GPU: products of forward passes, bytes of weights, caches and logits.

DERIVED from data sheets and parameter counts, with ASSUMED efficiencies, and every completion as long as its cap: an upper
bound, good to a factor of two. Table 5 has no line for it.
"""

from dataclasses import dataclass

from repro.models.padded_batches import FORWARD_TOKENS
from repro.planner.architectures import Architecture, architecture
from repro.planner.tokens import planned_tokens
from repro.stages import Stage


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

SCORING = 0.5
"""ASSUMED: share of the card's products that forward passes over thousands of tokens reach."""
STREAMING = 0.7
"""ASSUMED: share of the bandwidth that scoring reaches: long reads of weights, caches and logits."""
LOGIT_PASSES = 29
"""DERIVED: reads and writes of each float32 logit by a diagnosis's statistics, one operation at a time; fused kernels make
fewer."""
PROMPT_SHARE = 1.4
"""ASSUMED: tokens of prompt and completion per completion token."""
START_SECONDS = 120
"""ASSUMED: loading, engine start, saving."""


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
