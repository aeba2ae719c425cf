"""Tables 1 and 4 and Figure 2: from the files of diagnoses to verdicts."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from repro.diagnosis.files import PER_BLOCK, PER_PROMPT
from repro.diagnosis.per_prompt import PerPromptValues, write_per_prompt
from repro.printed.load import load
from repro.tables import MeasuredTable, load_claims
from repro.tables.measurements.traps import add_blocks, add_prompts
from repro.tables.verdicts.verdict import verdict

ITEMS = tuple(f"item-{n}" for n in range(40))


def row(tmp_path, name, values, file):
    (tmp_path / name).mkdir()
    write_per_prompt(tmp_path / name / file, values)
    return SimpleNamespace(stage=SimpleNamespace(folder_name=name))


def measure(task, metric, mean, seed, items=ITEMS, weight=None):
    values = np.random.default_rng(seed).normal(mean, 0.1, len(items))
    return PerPromptValues(task, metric, items, values, np.ones(len(items)) if weight is None else weight)


def table1(tmp_path, levels, seeds=(0,)):
    """Return a run of one teacher with these mean values: task -> metric -> mean."""
    table = MeasuredTable("table1", "toy", "qwen3", seeds)
    rows = []
    for seed in seeds:
        values = [
            measure(task, metric, mean, hash_of(task, metric, seed))
            for task, by_metric in levels.items()
            for metric, mean in by_metric.items()
        ]
        rows.append(row(tmp_path, f"diagnose-{seed}", values, PER_PROMPT))
    add_prompts(table, {"toy:qwen3-teacher": rows}, tmp_path)
    return table


def hash_of(*parts):
    return sum(ord(letter) for part in parts for letter in str(part))


def verdicts_of(report):
    return {v.claim: v.value for v in report.claims}


def test_the_claims_of_section_4_are_three_valued(tmp_path):
    health = {"log_weight_error": 3.0, "log_sd_is_rkl": 1.0, "log_sd_is_k3": 1.2}
    spread = {"log_sd_sequence_rkl": 2.0, "log_sd_token_rkl": 1.0}
    levels = {
        "toy-bm4": {"token_rkl": 0.2, **health, **spread},
        "toy-csqa": {"token_rkl": 0.5, **health, **spread},
        "toy-dolly": {"token_rkl": 0.52, **health, **spread},
    }
    verdicts = verdicts_of(verdict(table1(tmp_path, levels), load("table1"), missing="inconclusive"))
    assert verdicts["token-kl-knowledge-above-math"] == "reproduced"
    assert verdicts["token-kl-open-above-knowledge"] == "inconclusive"
    assert verdicts["importance-weights-unhealthy"] == "reproduced"
    assert verdicts["k3-does-not-help"] == "reproduced"
    assert verdicts["token-kl-lower-variance"] == "reproduced"


def test_opposite_values_contradict_the_claims_of_section_4(tmp_path):
    health = {"log_weight_error": 0.1, "log_sd_is_rkl": 1.0, "log_sd_is_k3": -0.5}
    spread = {"log_sd_sequence_rkl": 1.0, "log_sd_token_rkl": 2.0}
    levels = {
        "toy-bm4": {"token_rkl": 0.9, **health, **spread},
        "toy-csqa": {"token_rkl": 0.5, **health, **spread},
        "toy-dolly": {"token_rkl": 0.1, **health, **spread},
    }
    verdicts = verdicts_of(verdict(table1(tmp_path, levels), load("table1"), missing="inconclusive"))
    for claim in (
        "token-kl-knowledge-above-math",
        "token-kl-open-above-knowledge",
        "importance-weights-unhealthy",
        "k3-does-not-help",
        "token-kl-lower-variance",
    ):
        assert verdicts[claim] == "contradicted", claim


def test_a_printed_magnitude_is_not_tested_in_a_scaled_down_world(tmp_path):
    report = verdict(table1(tmp_path, {"toy-bm4": {"token_rkl": 5.0}}), load("table1"), missing="inconclusive")
    assert not [v for v in report.claims if v.claim.startswith("token-kl-range")]
    assert sum("tested at paper scale only" in reason for reason in report.skipped) == 3
    marked = [claim.id for claim in load_claims() if claim.printed_scale]
    ranges = ["token-kl-range-math", "token-kl-range-knowledge", "token-kl-range-open"]
    assert marked == [*ranges, "teacher-stays-correct-on-misled-prefixes"]
    paper = MeasuredTable("table1", "paper", "qwen3", (0,))
    add_prompts(
        paper, {"Qwen3-8B": [row(tmp_path, "p", [measure("bigmath-4", "token_rkl", 5.0, 0)], PER_PROMPT)]}, tmp_path
    )
    assert verdicts_of(verdict(paper, load("table1"), missing="inconclusive"))["token-kl-range-math"] == "contradicted"


def test_importance_cells_are_diagnosed_at_paper_scale_and_never_matched(tmp_path):
    paper = MeasuredTable("table1", "paper", "qwen3", (0,))
    values = [measure("bigmath-4", metric, 1.0, n) for n, metric in enumerate(("is_rkl", "is_k3", "token_rkl"))]
    add_prompts(paper, {"Qwen3-8B": [row(tmp_path, "p", values, PER_PROMPT)]}, tmp_path)
    cells = {cell.metric: cell.value for cell in verdict(paper, load("table1"), missing="inconclusive").cells}
    assert cells["is_rkl"] == cells["is_k3"] == "diagnosed"
    assert cells["token_rkl"] == "contradicted"


def test_weights_are_kept_and_a_cell_without_pairs_under_one_seed_is_missing(tmp_path):
    weight = np.arange(40.0)
    pairs = measure("toy-bm4", "wrong_trace_x", 0.3, 0, weight=weight)
    table = MeasuredTable("table1", "toy", "qwen3", (0, 1))
    rows = [
        row(tmp_path, "a", [pairs, measure("toy-bm4", "token_rkl", 1, 0)], PER_PROMPT),
        row(tmp_path, "b", [measure("toy-bm4", "token_rkl", 1, 1)], PER_PROMPT),
    ]
    add_prompts(table, {"t": rows}, tmp_path)
    assert not table.has("t", "toy-bm4", "wrong_trace_x")
    alone = MeasuredTable("table1", "toy", "qwen3", (0,))
    add_prompts(alone, {"t": rows[:1]}, tmp_path)
    assert alone.mean("t", "toy-bm4", "wrong_trace_x") == pytest.approx((pairs.value_P * weight).sum() / weight.sum())
    again = MeasuredTable.from_dict(json.loads(json.dumps(alone.to_dict())))
    assert again.mean("t", "toy-bm4", "wrong_trace_x") == alone.mean("t", "toy-bm4", "wrong_trace_x")


def test_table4_claims_compare_the_variants(tmp_path):
    table = MeasuredTable("table4", "toy", "qwen3", (0, 1, 2))
    level = {"Original": 0.5, "Distillable": 0.3, "Undistillable": 0.8, "Eta0": 0.45}
    rows = {
        label: [
            row(tmp_path, f"{label}-{seed}", [measure("toy-bm4", "token_rkl", mean, hash_of(label, seed))], PER_PROMPT)
            for seed in range(3)
        ]
        for label, mean in level.items()
    }
    add_prompts(table, rows, tmp_path)
    verdicts = verdicts_of(verdict(table, load("table4"), missing="inconclusive"))
    assert verdicts["distillable-reduces-token-rkl"] == "reproduced"
    assert verdicts["undistillable-raises-token-rkl"] == "reproduced"
    assert verdicts["distillable-reduces-token-rkl-beyond-rft"] == "reproduced"
    assert verdicts["distillable-reduces-wrong-trace"] == "inconclusive"


@pytest.mark.parametrize(("share", "expected"), [(0.8, "reproduced"), (0.3, "contradicted"), (0.51, "inconclusive")])
@pytest.mark.parametrize("correlation", [0.8, 0.1, 0.31])
def test_figure2_is_judged_on_its_tail(tmp_path, share, expected, correlation):
    table = MeasuredTable("figure2", "toy", "qwen3", (0,))
    weight = np.linspace(1, 2, 40)
    first = [
        measure("toy-bm4", "K=1", 0.1, 1),
        measure("toy-bm4", "K=V", 0.9, 2),
        measure("toy-bm4", "tail", correlation, 5),
        measure("toy-bm4", "tail_share", share, 6, weight=weight),
    ]
    second = [measure("toy-bm4", "K=1", 0.1, 3), measure("toy-bm4", "K=V", 0.5, 4)]
    rows = {"first": [row(tmp_path, "a", first, PER_BLOCK)], "second": [row(tmp_path, "b", second, PER_BLOCK)]}
    add_blocks(table, rows, tmp_path)
    assert table.rows == ("K=1", "K=V", "tail", "K=1, second", "K=V, second")
    verdicts = verdicts_of(verdict(table, load("figure2")))
    assert verdicts["tail-dominates"] == expected
    of_tail = {0.8: "reproduced", 0.1: "contradicted", 0.31: "inconclusive"}
    assert verdicts["frequency-effect-in-tail"] == of_tail[correlation]
    assert verdicts["no-frequency-effect-without-tail"] == "reproduced"


@pytest.mark.parametrize(
    ("mathematics", "dolly", "carry", "uniform"),
    [(0.8, 0.4, "reproduced", "reproduced"), (0.3, 0.45, "contradicted", "contradicted")],
)
def test_forking_tokens_carry_the_kl_of_mathematics(tmp_path, mathematics, dolly, carry, uniform):
    levels = {
        "toy-bm4": {"fork_share": mathematics},
        "toy-csqa": {"fork_share": 0.9},
        "toy-dolly": {"fork_share": dolly},
    }
    verdicts = verdicts_of(verdict(table1(tmp_path, levels), load("table1"), missing="inconclusive"))
    assert verdicts["forking-tokens-carry-kl-in-mathematics"] == carry
    assert verdicts["kl-more-uniform-in-open-tasks"] == uniform
