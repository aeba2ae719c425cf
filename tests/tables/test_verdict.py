"""Claims judged on simulated tables: true claims are reproduced, degraded results caught, bad input refused."""

import json
import math
import time

import numpy as np
import pytest

from repro.errors import InputError
from repro.printed.claims import Claim
from repro.printed.load import load
from repro.tables import MeasuredTable, load_claims
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import ClaimVerdict, VerdictReport

from .conftest import Make

STORED = load("table2")


def judge(measured: MeasuredTable | list[MeasuredTable], **options: object) -> VerdictReport:
    return verdict(measured, STORED, resamples=2_000, **options)  # type: ignore[arg-type]


def by_claim(report: VerdictReport) -> dict[str, ClaimVerdict]:
    return {v.claim: v for v in report.claims}


def test_true_world_is_reproduced(make: Make) -> None:
    verdicts = by_claim(judge(make(items=200, spread=0.03)))
    assert {c for c, v in verdicts.items() if v.value == "reproduced"} >= {
        "student-under-teacher",
        "sft-helps",
        "gkd-rkl-helps",
        "improve-beats-sft",
        "improve-beats-gkd-rkl",
        "undistillable-retains-teacher",
        "misled-collapses-under-student",
        "misled-under-gkd-rkl",
    }
    assert not [v.claim for v in verdicts.values() if v.value == "contradicted"]


@pytest.mark.parametrize(
    ("effects", "claim"),
    [
        ({"Improve": 0.2}, "improve-beats-gkd-rkl"),
        ({"Improve": -1.0}, "improve-beats-sft"),
        ({"Undistillable": 1.0}, "undistillable-retains-teacher"),
        ({"Distillable": 1.0}, "distillable-retains-teacher"),
        ({"Misled": -0.5}, "misled-collapses-under-student"),
        ({"Teacher": -2.5}, "student-under-teacher"),
        ({"SFT": -2.0}, "sft-helps"),
    ],
)
def test_degraded_result_is_caught(make: Make, effects: dict[str, float], claim: str) -> None:
    report = judge(make(items=200, effects=effects, spread=0.03))
    judged = by_claim(report)[claim]
    assert judged.value == "contradicted"
    assert judged.estimate is not None
    assert judged.estimate < 0
    assert judged.text.startswith("contradicted: ")
    assert report.counts(judged.role)["contradicted"] >= 1


def test_estimate_is_the_mean_over_tasks_of_paired_differences(make: Make) -> None:
    measured = make()
    judged = by_claim(judge(measured))["improve-beats-gkd-rkl"]
    by_hand = [
        measured.values["Improve", task, metric].values_SN.mean()
        - measured.values["GKD-RKL", task, metric].values_SN.mean()
        for task, metric in (("chain3", "acc"), ("quiz", "acc"), ("stories", "reward"))
    ]
    assert judged.estimate == pytest.approx(np.mean(by_hand))
    assert [t.task for t in judged.tasks] == ["chain3", "quiz", "stories"]
    assert [t.estimate for t in judged.tasks] == pytest.approx(by_hand)
    assert judged.items == 360
    assert judged.tasks[0].items == 120
    assert by_claim(judge(measured))["improve-beats-baselines-pass16"].items == 240


def test_verdict_can_be_read_off_the_printed_interval(make: Make) -> None:
    report = judge(make(items=60, effects={"Improve": 1.1}))
    for v in report.claims:
        assert v.interval is not None
        low, high = v.interval
        edge = -v.margin
        if v.value == "reproduced":
            assert low > edge
        elif v.value == "contradicted":
            assert high < edge
        else:
            assert low <= edge <= high or v.capped
            assert "inconclusive" in v.text
    assert any(v.value == "inconclusive" for v in report.claims)


def test_against_the_best_of_several_rivals(make: Make) -> None:
    """All rivals must be beaten: one that is not is enough to contradict."""
    claim = next(c for c in load_claims("table2") if c.id == "improve-beats-baselines-pass16")
    claim = claim.model_copy(update={"metrics": ("acc",)})
    better = verdict(make(items=200), STORED, [claim], resamples=2_000).claims[0]
    assert (better.value, better.rival) == ("reproduced", "GKD-RKL")
    worse = verdict(make(items=200, effects={"GKD-FKL": 2.6}), STORED, [claim], resamples=2_000).claims[0]
    assert (worse.value, worse.rival) == ("contradicted", "GKD-FKL")
    assert worse.level == pytest.approx(0.05 / 3)


def test_one_seed_caps_training_claims_only(make: Make) -> None:
    measured = make(seeds=(0,), items=60, effects={"Improve": 1.25, "Student": 2.75})
    verdicts = by_claim(judge(measured))
    close = verdicts["improve-beats-gkd-rkl"]
    assert close.estimate is not None
    assert close.se is not None
    assert 2 < close.estimate / close.se < 5
    assert (close.value, close.needed_seeds) == ("inconclusive", 3)
    assert "3 or more training seeds (now 1)" in close.text
    assert verdicts["misled-under-gkd-rkl"].value == "reproduced"
    premise = verdicts["student-under-teacher"]
    assert not premise.training
    assert not premise.capped


def test_capped_verdict_says_so(make: Make) -> None:
    claim = next(c for c in load_claims("table2") if c.id == "improve-beats-gkd-rkl")
    report = verdict(make(seeds=(0,), items=60, effects={"Improve": 1.25}), STORED, [claim], resamples=2_000)
    assert report.claims[0].capped
    assert "with one training seed the estimate must be more than 5 standard errors away" in report.claims[0].text


def test_same_seed_same_report(make: Make) -> None:
    measured = make(items=40)
    assert judge(measured, seed=3).to_dict() == judge(measured, seed=3).to_dict()
    assert judge(measured, seed=3).claims[0].se != judge(measured, seed=4).claims[0].se


def test_controls_are_left_out_or_judged_apart(make: Make) -> None:
    without = judge(make(items=60))
    assert len(without.skipped) == 9
    assert without.skipped[0].startswith("eta0-improve (qwen3): row 'Eta0-Student' has no")
    with_them = judge(make(items=60, effects={"Eta0-Student": 1.0, "No-reasoning": -1.0}))
    assert len(with_them.skipped) == 5
    assert not any("Eta0" in line or "'No-reasoning'" in line for line in with_them.skipped)
    assert by_claim(with_them)["eta0-improve"].provenance == "ASSUMED"
    # Controls do not make the paper's claims harder to establish: the same p values give the same levels.
    assert sorted(v.level for v in without.claims) == sorted(v.level for v in with_them.claims if v.role != "control")


def test_families_share_one_correction(make: Make) -> None:
    report = judge([make(items=60), make(items=60, family="gemma3", rng=1)])
    assert report.families == ("qwen3", "gemma3")
    assert len(report.claims) == 2 * len({v.claim for v in report.claims})
    assert min(v.level for v in report.claims if len(v.tasks) and v.kind != "exists") <= 0.05 / len(report.claims)
    assert {v.family for v in report.claims} == {"qwen3", "gemma3"}


def test_missing_row_is_an_error_or_inconclusive(make: Make) -> None:
    measured = make(items=30)
    for key in [k for k in measured.values if k[0] == "Distillable"]:
        del measured.values[key]
    with pytest.raises(
        InputError,
        match=r"result of table2, qwen3: row 'Distillable' has no measurement of accuracy or reward, which claim",
    ):
        judge(measured)
    judged = by_claim(judge(measured, missing="inconclusive"))["distillable-retains-teacher"]
    assert (judged.value, judged.estimate, judged.tasks) == ("inconclusive", None, ())
    assert "not run" in judged.text


def test_a_task_counts_only_where_both_rows_have_it(make: Make) -> None:
    measured = make(items=30)
    del measured.values["SFT", "quiz", "acc"]
    assert [t.task for t in by_claim(judge(measured))["sft-helps"].tasks] == ["chain3", "stories"]


def test_results_of_another_study_or_of_mixed_runs_are_refused(make: Make) -> None:
    with pytest.raises(InputError, match=r"result of table2, qwen3: cannot be judged against table4.toml"):
        verdict(make(items=10), load("table4"))
    with pytest.raises(InputError, match="two tables of one family"):
        judge([make(items=10), make(items=10)])
    with pytest.raises(InputError, match="scale or seeds differ"):
        judge([make(items=10), make(items=10, family="gemma3", seeds=(0, 1))])
    with pytest.raises(InputError, match="has no cells"):
        judge(MeasuredTable("table2", "toy", "qwen3", (0,)))
    with pytest.raises(InputError, match="no measured table"):
        judge([])


def test_report_is_plain_data_and_says_what_it_is(make: Make) -> None:
    content = json.loads(json.dumps(judge(make(items=20)).to_dict()))
    assert content["notice"] == "scaled down: no verdict on the paper's numbers"
    assert content["cells"] == []
    assert sum(c["value"] in ("reproduced", "contradicted", "inconclusive") for c in content["claims"]) >= 12
    assert judge(make(items=20, scale="paper")).notice is None


def claim_of(kind: str, **fields: object) -> Claim:
    base = next(c for c in load_claims("table1") if c.kind == kind)
    return base.model_copy(update=fields)


def kl_table(values: dict[str, float], metric: str = "token_rkl") -> MeasuredTable:
    g = np.random.default_rng(0)
    measured = MeasuredTable("table1", "paper", "qwen3", (0,))
    for task, mean in values.items():
        ids = [f"{task}-{n}" for n in range(150)]
        tokens = g.integers(50, 150, (1, 150))
        noise = g.normal(0, 0.02, (1, 150))
        measured.add("Qwen3-8B", task, metric, ids, np.clip(mean + noise, 0, 1), tokens)
    return measured


def test_range_claim() -> None:
    claim = next(c for c in load_claims("table1") if c.id == "token-kl-range-math")
    stored = load("table1")
    inside = verdict(kl_table({"BM4": 0.12, "BM5": 0.18}), stored, [claim], resamples=500).claims[0]
    assert (inside.value, inside.region) == ("reproduced", (pytest.approx(0.05), pytest.approx(0.25)))
    outside = verdict(kl_table({"BM4": 0.32, "BM5": 0.38}), stored, [claim], resamples=500).claims[0]
    assert outside.value == "contradicted"
    edge = verdict(kl_table({"BM4": 0.25, "BM5": 0.25}), stored, [claim], resamples=500).claims[0]
    assert edge.value == "inconclusive"


def test_exists_claim_needs_one_cell_and_is_contradicted_by_all() -> None:
    claim = next(c for c in load_claims("table1") if c.id == "wrong-trace-over-half")
    stored = load("table1")
    above = verdict(kl_table({"CSQA": 0.3, "superGPQA": 0.6}, "wrong_trace"), stored, [claim], resamples=500).claims[0]
    assert (above.value, above.rival) == ("reproduced", "Qwen3-8B, superGPQA")
    below = verdict(kl_table({"CSQA": 0.3, "superGPQA": 0.4}, "wrong_trace"), stored, [claim], resamples=500).claims[0]
    assert (below.value, below.rival) == ("contradicted", "Qwen3-8B, superGPQA")


def test_ordering_between_kinds_of_task() -> None:
    claim = next(c for c in load_claims("table1") if c.id == "token-kl-open-above-knowledge")
    # By the column's own name, by the real task and by the toy task that mirrors it.
    measured = kl_table({"CSQA": 0.5, "mmlu-pro": 0.3, "toy-dolly": 0.6, "Vicuna": 0.6})
    judged = verdict(measured, load("table1"), [claim], resamples=500).claims[0]
    assert judged.value == "reproduced"
    assert judged.estimate == pytest.approx(0.2, abs=0.01)
    assert judged.statement == "token-level reverse KL on Dolly/Vicuna > on CSQA/MMLU-Pro/superGPQA"


@pytest.mark.load_sensitive
def test_fifteen_claims_cost_a_few_bootstraps_of_one_mean(make: Make) -> None:
    """The ratio is 12 where resamples are drawn once for all claims; drawn claim by claim it would be hundreds."""
    measured = make(items=300, effects={"Eta0-Student": 1.0, "No-reasoning": -1.0})
    values = np.random.default_rng(0).random(300)

    def judge() -> None:
        assert len(verdict(measured, STORED).claims) >= 15

    def bootstrap() -> None:
        values[np.random.default_rng(0).integers(0, 300, (10_000, 300))].mean(1)

    best = {judge: math.inf, bootstrap: math.inf}
    for turn in range(5):  # turn by turn: other work on the machine slows both
        if turn > 1 and best[judge] < 50 * best[bootstrap]:
            break
        for action in best:
            start = time.process_time()
            action()
            best[action] = min(best[action], time.process_time() - start)
    assert best[judge] < 50 * best[bootstrap]
