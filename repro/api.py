"""The public API: `from repro.api import token_kl, group_advantages, plan, run_study, ...`.

Promise: a name of `__all__` keeps its meaning, its parameters (new ones get defaults) and the fields of what it returns within
a major version; before 1.0, within a minor one. A name that is to go warns for one such version first, and CHANGELOG.md
names it. Everything else below `repro` may move or change with any commit.

Importing this module imports nothing else of the kit; a name is imported when it is first used, and torch with the first that
needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.calibration.advantages import group_advantages
    from repro.calibration.config import CalibrationConfig
    from repro.calibration.reward import calibration_reward
    from repro.distillation.losses import forward_kl, reverse_kl
    from repro.errors import InputError, StageError
    from repro.evaluation.metrics import accuracy, maj_at_k, pass_at_k
    from repro.printed.claims import Claim
    from repro.printed.load import load as load_printed_table
    from repro.printed.load import load_claims
    from repro.recipes.catalog import plan
    from repro.report.merge import read_parts
    from repro.report.reload import judge_again
    from repro.report.result import measured_tables, read_result
    from repro.report.write import write_report
    from repro.tables.measured_table import MeasuredTable
    from repro.tables.verdicts.verdict import verdict
    from repro.tasks.grading import grade
    from repro.tasks.registry import get as get_task
    from repro.tasks.task import Item, Task
    from repro.traps import (
        entropy,
        forking_share,
        gradient_variance,
        importance_weighted_rkl,
        k_forms,
        pareto_k,
        per_token,
        ratio_interval,
        sequence_kl,
        sequence_kl_gradient,
        sequence_log_prob,
        stream_divergences,
        token_kl,
        token_kl_gradient,
        top_k_partial_sums,
        two_level_bootstrap,
        wrong_trace_preference,
    )
    from repro.workflow.library import run_stage, run_study
    from repro.workflow.own_models import (
        StageOptions,
        calibrate_stage,
        distill_stage,
        evaluate_stage,
        sample_stage,
        traps_stage,
    )

GROUPS: dict[str, dict[str, str]] = {
    "Estimators": {
        "token_kl": "traps:token_kl",
        "per_token": "traps:per_token",
        "entropy": "traps:entropy",
        "top_k_partial_sums": "traps:top_k_partial_sums",
        "sequence_log_prob": "traps:sequence_log_prob",
        "sequence_kl": "traps:sequence_kl",
        "k_forms": "traps:k_forms",
        "stream_divergences": "traps:stream_divergences",
        "importance_weighted_rkl": "traps:importance_weighted_rkl",
        "pareto_k": "traps:pareto_k",
        "wrong_trace_preference": "traps:wrong_trace_preference",
        "forking_share": "traps:forking_share",
        "token_kl_gradient": "traps:token_kl_gradient",
        "sequence_kl_gradient": "traps:sequence_kl_gradient",
        "gradient_variance": "traps:gradient_variance",
        "ratio_interval": "traps:ratio_interval",
        "two_level_bootstrap": "traps:two_level_bootstrap",
    },
    "Losses, reward and advantages": {
        "forward_kl": "distillation.losses:forward_kl",
        "reverse_kl": "distillation.losses:reverse_kl",
        "calibration_reward": "calibration.reward:calibration_reward",
        "group_advantages": "calibration.advantages:group_advantages",
        "CalibrationConfig": "calibration.config:CalibrationConfig",
    },
    "Tasks and grading": {
        "Item": "tasks.task:Item",
        "Task": "tasks.task:Task",
        "get_task": "tasks.registry:get",
        "grade": "tasks.grading:grade",
        "accuracy": "evaluation.metrics:accuracy",
        "maj_at_k": "evaluation.metrics:maj_at_k",
        "pass_at_k": "evaluation.metrics:pass_at_k",
    },
    "Stages and studies": {
        "StageOptions": "workflow.own_models:StageOptions",
        "calibrate_stage": "workflow.own_models:calibrate_stage",
        "sample_stage": "workflow.own_models:sample_stage",
        "distill_stage": "workflow.own_models:distill_stage",
        "evaluate_stage": "workflow.own_models:evaluate_stage",
        "traps_stage": "workflow.own_models:traps_stage",
        "run_stage": "workflow.library:run_stage",
        "plan": "recipes.catalog:plan",
        "run_study": "workflow.library:run_study",
    },
    "Results, verdicts and reports": {
        "read_result": "report.result:read_result",
        "measured_tables": "report.result:measured_tables",
        "MeasuredTable": "tables.measured_table:MeasuredTable",
        "load_printed_table": "printed.load:load",
        "load_claims": "printed.load:load_claims",
        "Claim": "printed.claims:Claim",
        "verdict": "tables.verdicts.verdict:verdict",
        "judge_again": "report.reload:judge_again",
        "read_parts": "report.merge:read_parts",
        "write_report": "report.write:write_report",
    },
    "Errors": {"InputError": "errors:InputError", "StageError": "errors:StageError"},
}
"""Heading of the reference -> public name -> where it is, below `repro`."""
_HOMES = {name: home for names in GROUPS.values() for name, home in names.items()}

__all__ = [  # noqa: RUF022  # in the order of the reference
    "token_kl",
    "per_token",
    "entropy",
    "top_k_partial_sums",
    "sequence_log_prob",
    "sequence_kl",
    "k_forms",
    "stream_divergences",
    "importance_weighted_rkl",
    "pareto_k",
    "wrong_trace_preference",
    "forking_share",
    "token_kl_gradient",
    "sequence_kl_gradient",
    "gradient_variance",
    "ratio_interval",
    "two_level_bootstrap",
    "forward_kl",
    "reverse_kl",
    "calibration_reward",
    "group_advantages",
    "CalibrationConfig",
    "Item",
    "Task",
    "get_task",
    "grade",
    "accuracy",
    "maj_at_k",
    "pass_at_k",
    "StageOptions",
    "calibrate_stage",
    "sample_stage",
    "distill_stage",
    "evaluate_stage",
    "traps_stage",
    "run_stage",
    "plan",
    "run_study",
    "read_result",
    "measured_tables",
    "MeasuredTable",
    "load_printed_table",
    "load_claims",
    "Claim",
    "verdict",
    "judge_again",
    "read_parts",
    "write_report",
    "InputError",
    "StageError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; the public names are repro.api.__all__")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(f"repro.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
