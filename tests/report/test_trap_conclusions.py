"""What the panel of one pair says of each trap: verdicts from intervals, reasons where nothing was measured, thresholds."""

import math
import subprocess
import sys

import pytest

from repro.printed.load import load, load_claims
from repro.report.trap_conclusions import SMALLEST_SAMPLE, conclude_traps, conclusion_lines, row_lines
from repro.report.trap_thresholds import MEAN_WEIGHT, PARETO_K, TAIL_SHARE, THRESHOLDS, WRONG_TRACE
from repro.tables.metric_names import DESCRIPTIONS
from repro.traps import pareto_k
from repro.traps.pareto import TRUSTED


def cell(measure, value, low, high, *, task="csqa", policy="student", rollouts=320):
    row = {"policy": policy, "task": task, "measure": measure, "unit": "", "value": value, "low": low, "high": high}
    return row | {"se": 0.1, "defined": 1.0, "prompts": 20, "rollouts": rollouts}


def content(
    *,
    share=(0.38, 0.33, 0.43),
    k=(0.3, 0.1, 0.5),
    weight=(1.0, 0.8, 1.2),
    wrong=(0.2, 0.1, 0.3),
    size=(80.0, 60.0, 100.0),
    **changes,
):
    teacher = {"policy": "teacher", "rollouts": changes.pop("rollouts", 320)}
    rows = [
        cell("token_rkl", 0.5, 0.4, 0.6),
        cell("wrong_trace", *wrong),
        cell("wrong_trace_length_matched", "nan", "nan", "nan"),
        cell("pareto_k", *k, **teacher),
        cell("mean_weight", *weight, **teacher),
        cell("effective_sample_size", *size, **teacher),
    ]
    tail = dict(zip(("share", "share_low", "share_high"), share))
    frequency = [
        {"task": "csqa", "k": 10, "beyond": False, "whole_vocabulary": False},
        {"task": "csqa", "k": 10, "beyond": True, "whole_vocabulary": False, **tail},
    ]
    return {"panel": rows, "frequency": frequency, "tail_k": 10, "left_out": [], **changes}


def verdicts(**changes):
    return [conclusion.verdict for conclusion in conclude_traps(content(**changes))]


def test_rows_with_the_same_verdicts_share_a_sentence():
    on_policy = content()
    on_policy["panel"] = [row for row in on_policy["panel"] if row["policy"] == "student"]
    diagnosed = [("A", content()), ("B", content(share=(0.7, 0.6, 0.8))), ("C", on_policy)]
    assert row_lines(diagnosed) == [
        "Tail noise, A, C: not seen on csqa.",
        "Tail noise, B: seen on csqa.",
        "Off-policy instability, A, B: not seen on csqa.",  # C has no completions of the teacher
        "Teacher-student gap, A, B, C: not seen on csqa.",
    ]
    several = content()
    several["panel"] += [
        cell("wrong_trace", 0.7, 0.6, 0.8, task="gsm8k"),
        cell("wrong_trace", 0.5, 0.4, 0.6, task="bm4"),
    ]
    assert row_lines([("A", several)])[-1] == (
        "Teacher-student gap, A: seen on gsm8k; not decided on bm4; not seen on csqa."
    )
    assert row_lines([]) == []


def test_a_healthy_pair_has_no_trap():
    assert verdicts() == ["not seen", "not seen", "not seen"]


@pytest.mark.parametrize(
    ("changes", "trap", "expected"),
    [
        ({"share": (0.7, 0.6, 0.8)}, 0, "seen"),
        ({"share": (0.5, 0.4, 0.6)}, 0, "not decided"),
        ({"share": ("nan", "nan", "nan")}, 0, "not decided"),
        ({"k": (1.2, 0.8, 1.6)}, 1, "seen"),
        ({"k": ("inf", "inf", "inf")}, 1, "seen"),
        ({"k": (0.6, 0.4, 0.9)}, 1, "not decided"),
        ({"k": (0.6, -2.0, 1.5), "weight": (0.03, 0.005, 0.1)}, 1, "seen"),
        ({"weight": (4.0, 2.5, 7.0)}, 1, "seen"),
        ({"weight": (1.5, 0.9, 2.5)}, 1, "not decided"),
        ({"weight": (0.0, 0.0, 0.0)}, 1, "seen"),
        ({"k": ("inf", "inf", "inf"), "rollouts": 20}, 1, "not decided"),
        ({"wrong": (0.65, 0.55, 0.75)}, 2, "seen"),
        ({"wrong": (0.5, 0.4, 0.6)}, 2, "not decided"),
    ],
)
def test_an_interval_decides_against_its_threshold(changes, trap, expected):
    found = verdicts(**changes)
    assert found[trap] == expected
    assert found[:trap] + found[trap + 1 :] == ["not seen", "not seen"]


def test_what_was_not_measured_says_why():
    rows = [row for row in content()["panel"] if row["policy"] == "student" and row["measure"] == "token_rkl"]
    lines = conclusion_lines(content(panel=rows, frequency=[], left_out=["token KL"]))
    assert [line.partition(".")[0] for line in lines] == [
        "Tail noise: not measured",
        "Off-policy instability: not measured",
        "Teacher-student gap: not measured",
    ]
    assert "share no vocabulary" in lines[0]
    assert "no answer key" in lines[2]
    assert "no prompt has a right and a wrong" in conclude_traps(content(wrong=("nan", "nan", "nan")))[2].text
    assert "No Top-10" in conclude_traps(content(frequency=[]))[0].text


def test_numbers_and_advice_are_in_the_text():
    printed = [c.value for c in load("table1").cells if c.metric == "token_rkl"]
    tail, weights, gap = (
        c.text for c in conclude_traps(content(share=(0.7, 0.6, 0.8), k=(1.2, 0.8, 1.6), wrong=(0.65, 0.55, 0.75)))
    )
    for text, phrases in (
        (tail, ("70% [60%, 80%]", "Top-10", "top-k-tail(k=10)")),
        (weights, ("pareto-k 1.2 [0.8, 1.6]", "80 [60, 100] of 320", "are unreliable", "GKD-RKL")),
        (gap, ("65% [55%, 75%]", "--eta 1", f"{min(printed):g} to {max(printed):g} (Table 1)")),
    ):
        for phrase in phrases:
            assert phrase in text


def test_tasks_are_named_where_there_are_several():
    one, other = content(), content()
    for rows in (other["panel"], other["frequency"]):
        for row in rows:
            row["task"] = "gsm8k"
    both = {**one, "panel": one["panel"] + other["panel"], "frequency": one["frequency"] + other["frequency"]}
    assert len(conclusion_lines(both)) == 6
    assert conclusion_lines(both)[1].startswith("Tail noise, gsm8k: not seen.")
    assert conclusion_lines(one)[0].startswith("Tail noise: not seen.")


def test_thresholds_are_those_of_the_claims_and_have_a_provenance():
    claims = {claim.metrics[0]: claim for study in ("table1", "figure2") for claim in load_claims(study)}
    lows = {claim.metrics[0]: claim.low for claim in claims.values()}
    (dominates,) = [claim for claim in load_claims("figure2") if claim.id == "tail-dominates"]
    assert TAIL_SHARE.value == dominates.low
    assert MEAN_WEIGHT.value == pytest.approx(lows["log_weight_error"], abs=1e-4)
    over_half = [c.low for c in load_claims("table1") if "over 50%" in c.quote]
    assert over_half == [WRONG_TRACE.value]
    assert PARETO_K.value == TRUSTED
    assert PARETO_K.provenance == "ASSUMED"  # from the literature: no number of the paper leads to it
    assert all(len(threshold.reason) > 20 for threshold in THRESHOLDS)


def test_no_tail_of_weights_is_fitted_to_fewer_completions():
    log_w = [math.log(n) for n in range(1, SMALLEST_SAMPLE + 1)]
    assert pareto_k(log_w[:-1]) == math.inf
    assert pareto_k(log_w) < math.inf


def test_a_page_of_a_panel_needs_no_torch():
    code = "import sys, repro.report.panel; print({'torch', 'transformers', 'pyarrow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_words_of_a_measure_stand_alone():
    for text in DESCRIPTIONS.values():
        assert not {"same", "it"} & set(text.split()), text


def test_weights_that_rest_on_few_completions_are_not_believed_whatever_their_tail():
    undecided = {"k": (0.9, 0.5, 1.3), "weight": (0.9, 0.01, 2.7)}
    for size, verdict in (((1.1, 1.0, 1.6), "seen"), ((12.0, 8.0, 20.0), "not decided")):
        assert verdicts(size=size, **undecided)[1] == verdict
    assert verdicts(size=(12.0, 8.0, 20.0))[1] == "not decided"
    assert verdicts(size=(1.1, 1.0, 1.6), rollouts=20)[1] == "not decided"  # of 20 completions few can be effective
    (line,) = [c.text for c in conclude_traps(content(k=undecided["k"])) if c.trap == "Off-policy instability"]
    assert "intervals include thresholds: pareto-k 0.7. More prompts (--items) would decide." in line


def test_too_few_completions_are_said_to_be_what_is_lacking():
    (line,) = [c for c in conclude_traps(content(k=("inf",) * 3, rollouts=20)) if c.trap == "Off-policy instability"]
    assert line.text.endswith(f"Pareto-k needs {SMALLEST_SAMPLE} completions: more prompts (--items) would decide.")


def test_an_undefined_mean_weight_or_share_decides_nothing():
    tail, off_policy, _ = conclude_traps(content(weight=("nan",) * 3, share=("nan",) * 3))
    assert (tail.verdict, off_policy.verdict) == ("not decided", "not decided")
    assert "nan" not in tail.text
