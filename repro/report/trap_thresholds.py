"""Thresholds above which a trap counts as present: the only home of these numbers, with provenance and reason."""

from dataclasses import dataclass
from math import log
from typing import Literal

from repro.stages.alarms import LARGEST_PARETO_K


@dataclass(frozen=True)
class Threshold:
    """A bound that an interval is compared with.

    Attributes:
        value: in the unit of what it bounds.
        bounds: what is compared with it.
        provenance: PAPER, DERIVED or ASSUMED.
    """

    value: float
    bounds: str
    provenance: Literal["PAPER", "DERIVED", "ASSUMED"]
    reason: str


TAIL_SHARE = Threshold(
    0.5,
    "share of the reverse KL at ids outside the student's Top-K",
    "ASSUMED",
    'the paper calls the tail "the dominant source of divergence" without a number; what dominates is more than all the'
    " rest (the margin of the claim of Figure 2)",
)
PARETO_K = Threshold(
    LARGEST_PARETO_K,
    "Pareto-k of the importance weights",
    "ASSUMED",
    "the paper states none; above it importance sampling is unreliable at any affordable number of samples (Vehtari et al., 2024)",
)
MEAN_WEIGHT = Threshold(
    log(2),
    "|log| of the mean importance weight, which is 0 if the weights are right",
    "ASSUMED",
    "a mean weight that is off by a factor of two or more (the margin of the claim of Table 1)",
)
EFFECTIVE_SAMPLE = Threshold(
    10,
    "effective sample size of the importance weights, in completions: seen below it",
    "ASSUMED",
    "an estimate that rests on fewer than ten completions, of however many, has an error of a third or more",
)
WRONG_TRACE = Threshold(
    0.5,
    "share of pairs in which the teacher favours the wrong completion more than the student does",
    "PAPER",
    'section 4.2 counts the tasks on which wrong traces are preferred "over 50% of the time"; at one half the teacher is a'
    " coin toss",
)
THRESHOLDS = (TAIL_SHARE, PARETO_K, MEAN_WEIGHT, EFFECTIVE_SAMPLE, WRONG_TRACE)
