"""Metrics in words: a name for statements, table heads and figures, and a description to explain a metric.

Results, claims and exports use ids; no id is ever shown without its words.
"""

import re

NAMES = {
    "acc": "accuracy",
    "reward": "reward",
    "token_rkl": "token-level reverse KL",
    "sequence_rkl": "sequence-level reverse KL",
    "wrong_trace": "wrong-trace preference",
    "unanswered_trace": "preference for unanswered completions",
    "unanswered_share": "share of unanswered completions",
    "fork_share": "share of the KL at forks",
    "entropy_student": "student's entropy",
    "is_rkl": "importance-weighted reverse KL",
    "is_k3": "importance-weighted K3",
    "log_weight_error": "log error of the mean importance weight",
    "log_sd_sequence_rkl": "log SD of sequence-level reverse KL",
    "log_sd_token_rkl": "log SD of token-level reverse KL",
    "log_sd_is_rkl": "log SD of importance-weighted reverse KL",
    "log_sd_is_k3": "log SD of importance-weighted K3",
    "token_rkl_outcome_correlation": "KL-outcome correlation",
    "wrong_trace_outcome_correlation": "preference-outcome correlation",
    "frequency_correlation": "frequency-KL correlation",
    "tail_share": "share of the KL",
    "tokens": "completion length",
    "truncated": "truncated completions",
    "pass_maj_gap": "gap between pass@k and maj@k",
    "overconfidence": "overconfidence",
    "prefix_correct": "correct continuations",
    "loss_under_better_teacher": "loss under a better teacher",
    "shortfall": "shortfall under a better teacher",
    "rechecking": "re-checking",
    "uncommitted": "completions cut before an answer",
    "repetition_recovery": "recovery from repetition",
    "hallucination": "overconfident hallucination",
    "self_correction": "self-correction collapse",
    "degradation": "local decoding degradation",
    "core_hours": "core-hours",
    "gpu_hours": "GPU-hours",
    "gain": "gain",
    "gain_per_1000_queries": "gain per 1,000 queries",
    "moved": "KL from the start",
    "reader_nats": "cross-entropy under the calibration target",
}
"""Metric -> name, which must fit into "Misled > Student in NAME" and "NAME of Misled > 0.1"."""
DESCRIPTIONS = {
    "sequence_rkl": "reverse KL of complete completions",
    "token_rkl": "reverse KL over the vocabulary, per token",
    "token_fkl_on_policy": "forward KL over the vocabulary, per token",
    "entropy_student": "entropy of the student, per token",
    "entropy_teacher": "entropy of the teacher, per token",
    "fork_share": "share of the reverse KL at forking tokens",
    "fork_tokens": "share of the tokens that are forks",
    "top_k_rkl": "reverse KL over the student's Top-{k} alone",
    "mean_tokens": "length of a completion",
    "wrong_trace": "pairs in which the teacher favours the wrong completion more than the student does",
    "wrong_trace_per_prompt": "pairs in which the teacher favours the wrong completion more than the student does, all prompts"
    " with equal weight",
    "wrong_trace_length_only": "pairs in which the wrong completion is the shorter one",
    "wrong_trace_length_matched": "pairs of nearly equal length in which the teacher favours the wrong one more than the student"
    " does",
    "unanswered_trace": "pairs in which the teacher favours a completion without an answer more than the student does",
    "unanswered_share": "completions without an answer, as a share of those that are not correct",
    "sequence_fkl": "forward KL of complete completions",
    "token_fkl": "forward KL over the vocabulary, per token",
    "token_rkl_off_policy": "reverse KL over the vocabulary, per token, unweighted",
    "is_rkl": "importance-weighted reverse KL",
    "is_k3": "importance-weighted reverse KL, K3 estimator",
    "is_token_rkl": "importance-weighted token-level reverse KL",
    "self_normalised_rkl": "self-normalised importance-weighted reverse KL",
    "mean_weight": "mean importance weight, ideally 1",
    "effective_sample_size": "effective sample size",
    "max_weight_share": "share of the largest importance weight",
    "token_rkl_outcome_correlation": "correlation between changes in token-level reverse KL and in students' accuracy",
    "wrong_trace_outcome_correlation": "correlation between changes in wrong-trace preference and in students' accuracy",
    "frequency_correlation": "rank correlation between a token's frequency and its contribution to the KL",
    "tail_share": "share of the reverse KL outside the student's Top-K",
    "pass_maj_gap": "pass@k minus maj@k",
    "overconfidence": "share of the most frequent answer minus maj@k",
    "solved": "prompts that the student solves by majority",
    "lost": "previously solved prompts that the student lost",
    "prefix_correct": "continuations that end with the correct answer",
    "loss_under_better_teacher": "accuracy that the student loses under a better teacher",
    "shortfall": "accuracy by which the better teacher's student falls behind the other's",
    "rechecking": "completions with a re-check phrase",
    "uncommitted": "completions cut before any answer",
    "repetition_recovery": "completions with a repeated span that still end with an answer",
    "hallucination": "overconfident hallucination, share of the completions of lost prompts",
    "self_correction": "self-correction collapse, share of the completions of lost prompts",
    "degradation": "local decoding degradation, share of the completions of lost prompts",
    "log_weight_error": "absolute logarithm of the mean importance weight, ideally 0",
    "log_sd_sequence_rkl": "log standard deviation of sequence-level reverse KL across completions",
    "log_sd_token_rkl": "log standard deviation of token-level reverse KL across completions",
    "log_sd_is_rkl": "log standard deviation of importance-weighted reverse KL across completions",
    "log_sd_is_k3": "log standard deviation of the importance-weighted K3 estimator across completions",
    "core_hours": "hours times CPU cores",
    "gpu_hours": "hours times GPUs",
    "pareto_k": "Pareto-k of the weights: above 0.7 they are unreliable",
}
"""Panel measure or table metric -> description; {k} of "top_k_rkl@K" is filled in. A missing one falls back to its
name, or its id."""
_OF_SAMPLES = re.compile(r"(maj|pass)(\d+)")
_RATES = frozenset({"unparsed", "repeating", "empty", "weight_waste"})
"""Metrics whose ids are already words."""
_ID = re.compile(r"\b[a-z]\w*_\w+\b")


def metric_name(metric: str) -> str:
    """Return a metric's name: "wrong-trace preference", "pass@16". Unknown metrics (e.g. a plug-in's) keep their id."""
    if of_samples := _OF_SAMPLES.fullmatch(metric):
        return f"{of_samples[1]}@{of_samples[2]}"
    return NAMES.get(metric, metric)


def is_metric(metric: str) -> bool:
    """Return True for a known metric: an id with a name or description, maj@k as maj16, a Top-K sum as top_k_rkl@10."""
    return (
        metric in _RATES or metric.partition("@")[0] in {*NAMES, *DESCRIPTIONS} or bool(_OF_SAMPLES.fullmatch(metric))
    )


def is_kl(metric: str) -> bool:
    """Return True for an estimate of a KL, in nats; not for its correlation or the logarithm of its spread."""
    return ("kl" in metric or "k3" in metric) and not metric.startswith("log_") and not metric.endswith("_correlation")


def describe_measure(measure: str) -> str:
    """Describe a panel measure; falls back to its name, or its id."""
    name, _, k = measure.partition("@")
    return DESCRIPTIONS[name].format(k=k) if name in DESCRIPTIONS else metric_name(measure)


def metric_with_id(metric: str) -> str:
    """Return a metric's description with its id: "reverse KL over the vocabulary, per token (token_rkl)"."""
    description = describe_measure(metric)
    return metric if description == metric else f"{description} ({metric})"


def without_ids(text: str) -> str:
    """Replace metric ids with names, in texts that were recorded with ids."""
    return _ID.sub(lambda match: metric_name(match[0]), text)
