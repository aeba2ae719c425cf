"""The panel on real weights and real rows, against a naive computation in float64: full logits, one sequence at a time.

Teacher SmolLM2-135M-Instruct, student its layer-pruned copy, rows of GSM8K from `--data FILE` or from the hub.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import real_weights
import torch
from transformers import AutoModelForCausalLM

from repro.diagnosis.columns import read_measurements, select_columns
from repro.diagnosis.files import CONTRIBUTIONS, MEASUREMENTS
from repro.generation.rollouts import read_rollouts
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.stages.artifact import ROLLOUTS
from repro.workflow.own_models import StageOptions, traps_stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # the models are made on the first run
RELATIVE = 1e-5
"""Of a sum over all tokens of a policy. The pass multiplies in float32 and sums in float64."""
KS = (1, 10, 100, 1000)


@pytest.fixture(scope="module")
def diagnosed(request, tmp_path_factory):
    """Return rollouts, measurements and folder of one diagnosis: 3 prompts, 2 completions of each model, 24 tokens at most."""
    folder = Path(request.config.getoption("--out")) / "real-models"
    if not (folder / "student" / "config.json").is_file():
        real_weights.make_teacher(folder / "teacher")
        real_weights.make_student(folder / "teacher", folder / "student")
    data = request.config.getoption("--data")
    settings = [
        "engine=transformers",
        "evaluation.completions_per_prompt=2",
        "evaluation.max_completion_tokens=24",
        f"diagnosis.ks={','.join(map(str, KS))}",
        f"diagnosis.tail_k={KS[1]}",
        "diagnosis.gradient_prompts=1",
        "diagnosis.gradient_tokens=8",
    ]
    options = StageOptions(tasks=("gsm8k",), data=Path(data) if data else None, items=3, assignments=settings)
    stage = traps_stage(str(folder / "teacher"), str(folder / "student"), options)
    cache = tmp_path_factory.mktemp("cache")
    for needed in (*stage.inputs(), stage):
        outcome = run_stage(needed, cache, Resources(checkpoint_every=0))
        assert "input_error" not in outcome, outcome
    rollouts = {
        who: read_rollouts(cache / sample.folder_name / ROLLOUTS)
        for who, sample in (("student", stage.on_policy), ("teacher", stage.off_policy))
    }
    return folder, rollouts, cache / stage.folder_name


@pytest.fixture(scope="module")
def naive(diagnosed):
    """Compute every measure per rollout in float64, from full logits."""
    folder, rollouts, _ = diagnosed
    models = [
        AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float64).eval()
        for name in ("student", "teacher")
    ]
    return {who: [_naive(models, rollout) for rollout in of_policy] for who, of_policy in rollouts.items()}


def _naive(models, rollout):
    start, ids = len(rollout.prompt_ids), torch.tensor(rollout.token_ids)
    with torch.no_grad():
        logp, logq = (
            model(torch.tensor([[*rollout.prompt_ids, *rollout.token_ids]])).logits[0, start - 1 : -1].log_softmax(-1)
            for model in models
        )
    terms = logp.exp() * (logp - logq)
    ranked = terms.gather(1, logp.argsort(1, descending=True)).cumsum(1)
    return {
        "rkl": float(terms.sum()),
        "fkl": float((logq.exp() * (logq - logp)).sum()),
        "student_log_prob": float(logp.gather(1, ids[:, None]).sum()),
        "teacher_log_prob": float(logq.gather(1, ids[:, None]).sum()),
        "entropy_student": -float((logp.exp() * logp).sum()),
        "entropy_teacher": -float((logq.exp() * logq).sum()),
        "partial_rkl": [float(ranked[:, k - 1].sum()) for k in (*KS, logp.shape[1])],
        "terms_V": terms.sum(0).numpy(),
    }


@pytest.mark.parametrize("who", ["student", "teacher"])
@pytest.mark.parametrize(
    "name", ["rkl", "fkl", "student_log_prob", "teacher_log_prob", "entropy_student", "entropy_teacher"]
)
def test_sums_over_all_tokens(diagnosed, naive, who, name):
    columns = select_columns(read_measurements(diagnosed[2] / MEASUREMENTS), who, "gsm8k")
    assert columns[name].sum() == pytest.approx(sum(rollout[name] for rollout in naive[who]), rel=RELATIVE)


def test_top_k_sums(diagnosed, naive):
    columns = select_columns(read_measurements(diagnosed[2] / MEASUREMENTS), "student", "gsm8k")
    expected = np.sum([rollout["partial_rkl"] for rollout in naive["student"]], axis=0)
    assert columns["partial_rkl"].sum(0) == pytest.approx(expected, rel=RELATIVE)


def test_every_tokens_contribution(diagnosed, naive):
    from safetensors.numpy import load_file

    arrays = load_file(diagnosed[2] / CONTRIBUTIONS)
    contributions = arrays["gsm8k/sums"][:, -1].sum(0)
    expected = np.sum([rollout["terms_V"] for rollout in naive["student"]], axis=0)[arrays["gsm8k/ids"]]
    total = sum(rollout["rkl"] for rollout in naive["student"])
    assert contributions == pytest.approx(expected, rel=RELATIVE, abs=RELATIVE * total)


def test_the_panels_cells(diagnosed, naive):
    _, rollouts, artifact = diagnosed
    panel = {
        (line["policy"], line["measure"]): line["value"]
        for line in json.loads((artifact / "summary.json").read_text())["panel"]
    }
    tokens = sum(len(r.token_ids) for r in rollouts["student"])
    assert panel["student", "token_rkl"] == pytest.approx(
        sum(rollout["rkl"] for rollout in naive["student"]) / tokens, rel=RELATIVE
    )
    gaps = [rollout["student_log_prob"] - rollout["teacher_log_prob"] for rollout in naive["student"]]
    assert panel["student", "sequence_rkl"] == pytest.approx(sum(gaps) / len(gaps), rel=RELATIVE)
    log_w = np.array([rollout["student_log_prob"] - rollout["teacher_log_prob"] for rollout in naive["teacher"]])
    assert panel["teacher", "sequence_fkl"] == pytest.approx(-log_w.mean(), rel=RELATIVE)
    # A weight is the exponential of some hundred nats: its relative error is the log-probability's absolute one
    slack = math.exp(float(np.abs(log_w).max()) * RELATIVE * 2) - 1
    assert panel["teacher", "is_rkl"] == pytest.approx((np.exp(log_w) * log_w).mean(), rel=slack)
    assert panel["teacher", "mean_weight"] == pytest.approx(np.exp(log_w).mean(), rel=slack)


def test_sampled_log_probs_are_the_scored_ones(diagnosed):
    for who in ("student", "teacher"):
        columns = select_columns(read_measurements(diagnosed[2] / MEASUREMENTS), who, "gsm8k")
        assert columns["sampled_log_prob"] == pytest.approx(columns[f"{who}_log_prob"], rel=1e-4)
