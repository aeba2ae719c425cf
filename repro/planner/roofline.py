"""Hours of a study on one GPU, from the bottom up: tokens, weights to read, products to compute.

Table 5 cannot give these: its data sizes are lost, and a card of 24 GB is no H100. DERIVED from data sheets and parameter
counts, with two ASSUMED efficiencies, and every completion as long as its cap: an upper bound, good to a factor of two.
"""

from dataclasses import dataclass, replace

from repro.planner.architectures import architecture
from repro.planner.tokens import planned_tokens
from repro.recipes.study import Study
from repro.stages import Stage
from repro.stages.references import Model

NIGHT_HOURS = 10.0


@dataclass(frozen=True)
class Card:
    """A data sheet: memory bandwidth in bytes a second, dense bfloat16 products in floating-point operations a second."""

    bandwidth: float
    flops: float


CARDS = {"24 GB (RTX 3090)": Card(0.936e12, 71e12), "80 GB (H100 SXM)": Card(3.35e12, 989e12)}

BATCH = 64
"""ASSUMED: sequences that vLLM decodes together while the trainer's weights are on the same card."""
DECODING = 0.25
"""ASSUMED: share of the bandwidth that decoding reaches over a complete stage: caches are read too, batches run empty."""
TRAINING = 0.3
"""ASSUMED: share of the card's products that small micro-batches reach."""
PROMPT_SHARE = 1.4
"""ASSUMED: tokens of prompt and completion per completion token."""
START_SECONDS = 120
"""ASSUMED: loading, engine start, saving."""


def hours_on_card(study: Study, card: Card) -> float:
    """Return an upper bound of the study's hours on one such card."""
    return sum(stage_seconds(stage, card) for stage in study.stages()) / 3600


def stage_seconds(stage: Stage, card: Card) -> float:
    """Return an upper bound of the stage's seconds: sampling limited by bandwidth, all else by products.

    Above `Passes.flops`, training recomputes its activations (2 N a token), and a KL anchor is one more forward pass (2 N).
    """
    workload = stage.workload
    main, frozen = _parameters(workload.main), _parameters(workload.frozen)
    passes = workload.passes
    recomputed = passes.trained + (1 if workload.kl_anchor else 0)
    flops = replace(passes, sampled=0, scored=passes.scored + recomputed).flops(main, frozen)
    tokens = planned_tokens(stage)
    sampling = tokens * passes.sampled * _seconds_per_token(main, card)
    return sampling + tokens * PROMPT_SHARE * flops / (TRAINING * card.flops) + START_SECONDS


def _parameters(model: Model | None) -> float:
    return architecture(model.base_model.name).parameters * 1e9 if model else 0.0


def _seconds_per_token(parameters: float, card: Card) -> float:
    """Return seconds of decoding one token: each step reads the weights once for the complete batch."""
    return 2 * parameters / (card.bandwidth * DECODING * BATCH)
