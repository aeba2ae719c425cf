"""Hours of a study on one GPU, from the bottom up: tokens, weights to read, products to compute.

Table 5 cannot give these: its data sizes are lost, and a card of 24 GB is no H100. DERIVED from data sheets and parameter
counts, with ASSUMED efficiencies, and every completion as long as its cap: an upper bound, good to a factor of two.
"""

from dataclasses import replace

from repro.planner.architectures import architecture
from repro.planner.concurrency import sequences_at_once
from repro.planner.scoring import CARDS as CARDS
from repro.planner.scoring import PROMPT_SHARE, START_SECONDS, Card, scoring_seconds
from repro.planner.tokens import planned_tokens
from repro.recipes.study import Study
from repro.stages import Stage
from repro.stages.references import Model

NIGHT_HOURS = 10.0
BATCH = 64
"""ASSUMED: sequences that vLLM decodes together, on average over a stage whose cache and step hold more."""
DECODING = 0.25
"""ASSUMED: share of the bandwidth that decoding reaches over a complete stage: caches are read too, batches run empty."""
TRAINING = 0.3
"""ASSUMED: share of the card's products that small micro-batches reach."""


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


def _parameters(model: Model | None) -> float:
    return architecture(model.base_model.name).parameters * 1e9 if model else 0.0


def _seconds_per_token(stage: Stage, parameters: float, card: Card) -> float:
    """Return seconds of decoding one token: each step reads the weights once for all sequences in flight."""
    if not stage.workload.samples:
        return 0.0
    tokens = round(PROMPT_SHARE * stage.workload.max_completion_tokens)
    in_flight = min(BATCH, sequences_at_once(stage, card.gib, tokens))
    return 2 * parameters / (card.bandwidth * DECODING * in_flight)
