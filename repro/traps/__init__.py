"""The traps (sections 3 and 4): estimators of divergence and diagnostics of their reliability, as pure functions.

The token-level estimators come in two forms: on logits (`token_kl` and its neighbours: clear, float64, differentiable)
and from hidden states (`stream_divergences`: all of them in one pass that never holds all logits). All divergences
are in nats; the expectation is over p, and q is the distribution that p is compared with.
"""

from repro.traps.contributions import Contributions, VocabularyContributions
from repro.traps.forking import ForkingShare, forking_share
from repro.traps.gradient import (
    GradientVariance,
    future_kl_gradient,
    gradient_variance,
    sequence_kl_gradient,
    token_kl_gradient,
)
from repro.traps.heads import OutputHead
from repro.traps.importance import ImportanceEstimate, importance_weighted_rkl, log_weights, weighted_mean
from repro.traps.intervals import (
    Interval,
    ratio_interval,
    two_level_bootstrap,
    two_level_bootstraps,
)
from repro.traps.pareto import fit_generalised_pareto, pareto_k
from repro.traps.preference import PreferenceRate, wrong_trace_preference
from repro.traps.sequence_kl import KForms, k_forms, sequence_kl, sequence_log_prob
from repro.traps.streaming import StreamedDivergences, stream_divergences
from repro.traps.token_kl import entropy, per_token, token_kl, top_k_partial_sums

__all__ = [
    "Contributions",
    "ForkingShare",
    "GradientVariance",
    "ImportanceEstimate",
    "Interval",
    "KForms",
    "OutputHead",
    "PreferenceRate",
    "StreamedDivergences",
    "VocabularyContributions",
    "entropy",
    "fit_generalised_pareto",
    "forking_share",
    "future_kl_gradient",
    "gradient_variance",
    "importance_weighted_rkl",
    "k_forms",
    "log_weights",
    "pareto_k",
    "per_token",
    "ratio_interval",
    "sequence_kl",
    "sequence_kl_gradient",
    "sequence_log_prob",
    "stream_divergences",
    "token_kl",
    "token_kl_gradient",
    "top_k_partial_sums",
    "two_level_bootstrap",
    "two_level_bootstraps",
    "weighted_mean",
    "wrong_trace_preference",
]
