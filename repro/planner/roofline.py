"""Hours of a study on one GPU, from the bottom up: tokens, weights to read, products to compute.

Table 5 cannot tell this: its data sizes are lost, and a card of 24 GB is no H100. DERIVED from data sheets and parameter
counts, with two ASSUMED efficiencies, and every completion as long as its cap: an upper bound, good to a factor of two.
"""

from dataclasses import dataclass

from repro.planner.architectures import architecture
from repro.planner.hours import planned_tokens
from repro.recipes.study import Study
from repro.stages import Calibrate, Distill, Evaluate, ModelInput, Sample, Stage

NIGHT_HOURS = 10.0


@dataclass(frozen=True)
class Card:
    """A data sheet: memory bandwidth in bytes a second, dense bfloat16 products in floating-point operations a second."""

    bandwidth: float
    flops: float


CARDS = {"24 GB (RTX 3090)": Card(0.936e12, 71e12), "80 GB (H100 SXM)": Card(3.35e12, 989e12)}

BATCH = 64
"""ASSUMED: sequences that vLLM decodes together while the trainer's weights lie beside it."""
DECODING = 0.25
"""ASSUMED: share of the bandwidth that decoding reaches over a whole stage: caches are read too, batches run empty."""
TRAINING = 0.3
"""ASSUMED: share of the card's products that small micro-batches reach."""
PROMPT_SHARE = 1.4
"""ASSUMED: tokens of prompt and completion per completion token."""
START_SECONDS = 120
"""ASSUMED: loading, engine start, saving."""


def hours_on_card(study: Study, card: Card) -> float:
    """Upper bound of the study's hours on one such card."""
    return sum(stage_seconds(stage, card) for stage in study.stages()) / 3600


def stage_seconds(stage: Stage, card: Card) -> float:
    """Of one stage.

    Passes per token of a model with P parameters: forward 2 P, backward 4 P, and 2 P where activations are recomputed.
    """
    tokens, passes = planned_tokens(stage), 0.0
    if isinstance(stage, Calibrate):
        policy, target = _size(stage.teacher), _size(stage.target)
        passes = (2 + 2 + 8) * policy + 2 * target  # p_phi's score, the anchor, the step; p_C's score
        drawing = tokens * _per_token(policy, card)
    elif isinstance(stage, Distill):
        passes = 8 * _size(stage.student) + (0 if stage.config.method == "sft" else 2 * _size(stage.teacher))
        drawing = tokens * _per_token(_size(stage.student), card) if stage.config.method == "gkd-rkl" else 0.0
    elif isinstance(stage, Sample | Evaluate):
        drawing = tokens * _per_token(_size(stage.model), card)
    else:
        passes, drawing = sum(2 * _size(model) for model in stage.base_models()), 0.0
    return drawing + tokens * PROMPT_SHARE * passes / (TRAINING * card.flops) + START_SECONDS


def _size(model: ModelInput) -> float:
    return architecture(model.base_model.name).parameters * 1e9


def _per_token(parameters: float, card: Card) -> float:
    """Seconds: each decoding step reads the weights once for the whole batch."""
    return 2 * parameters / (card.bandwidth * DECODING * BATCH)
