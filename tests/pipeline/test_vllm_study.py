"""Table 2 through real vLLM: every kind of stage, the weight sync of both trainers, verdicts at the end."""

import importlib.util
import json

import pytest
from rich.console import Console

from repro.pipeline.cluster import Execution
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.workflow.study import run_study

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (extra cpu or gpu)"),
    pytest.mark.timeout(3000),
]

TINY = (
    "engine=vllm",
    "tasks=toy-bm4,toy-csqa,toy-dolly",
    "train_items=12",
    "test_items=6",
    "calibration.steps=2",
    "calibration.prompts_per_step=4",
    "calibration.group_size=4",
    "teacher_sampling.completions_per_prompt=2",
    "evaluation.completions_per_prompt=4",
    "controls=false",
    *(
        f"{method}.{setting}"
        for method in ("sft", "gkd_fkl", "gkd_rkl")
        for setting in ("steps=2", "sequences_per_step=8")
    ),
)


def test_table_2_from_plan_to_verdict(tmp_path):
    study = plan("table2", scale="toy", seeds=1, assignments=TINY)
    outcome = run_study(study, tmp_path, Execution(Resources(), workers=1), quiet=True, console=Console(quiet=True))
    result = json.loads((outcome.folder / "results.json").read_text())
    assert {row["method"] for row in result["rows"]} == {row.method for row in study.rows}
    assert result["settings"]["evaluation"]["engine"] == "vllm"
    by_kind = {}
    for stage in result["stages"]:
        by_kind.setdefault(stage["artifact"].split("-")[0], []).append(stage["summary"])
    for summary in by_kind["calibrate"]:
        assert summary["vllm_log_prob_gap"] < 0.05  # nats per token: served in bfloat16
        assert summary["items"] == {"toy-bm4": 12, "toy-csqa": 12, "toy-dolly": 12}
    for summary in by_kind["evaluate"]:
        for task in study.tasks:
            assert summary[task]["completions_per_item"] == 4
        assert summary["sampler"]["gap"] < 0.05
        assert summary["sampler"]["alarm"] is None
    assert (outcome.folder / "report.md").is_file()
