"""Every stage for a few steps on real weights: nothing may work only in the embedded world.

Teacher SmolLM2-135M-Instruct, student its layer-pruned copy, calibration target the student (same tokenizer) and the
embedded Gemma3 target (another tokenizer), rows of GSM8K from `--data FILE` (its own schema) or from the hub.
"""

import json
from pathlib import Path

import pytest
import real_weights
import torch

from repro.generation.rollouts import read_rollouts
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_model, load_tokenizer, locate
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.workflow.own_models import StageOptions, calibrate_stage, distill_stage, evaluate_stage, sample_stage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(request):
    """Return the folders of teacher and student, made once under --out."""
    folder = Path(request.config.getoption("--out")) / "real-models"
    if not (folder / "student" / "config.json").is_file():
        real_weights.make_teacher(folder / "teacher")
        real_weights.make_student(folder / "teacher", folder / "student")
    return {"teacher": str(folder / "teacher"), "student": str(folder / "student")}


@pytest.fixture(scope="module")
def options(request):
    data = request.config.getoption("--data")
    settings = [
        "engine=transformers",
        "calibration.steps=2",
        "calibration.prompts_per_step=2",
        "calibration.group_size=4",
        "calibration.max_completion_tokens=48",
        "calibration.learning_rate=1e-4",
        "teacher_sampling.completions_per_prompt=4",
        "teacher_sampling.max_completion_tokens=48",
        "evaluation.completions_per_prompt=2",
        "evaluation.max_completion_tokens=160",
        *(
            f"{method}.{setting}"
            for method in ("sft", "gkd_fkl", "gkd_rkl")
            for setting in ("steps=3", "sequences_per_step=4", "max_completion_tokens=48", "learning_rate=5e-5")
        ),
    ]
    return StageOptions(tasks=("gsm8k",), data=Path(data) if data else None, items=4, assignments=settings)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def make(stage):
        for needed in stage.inputs():
            run_stage(needed, cache, Resources(checkpoint_every=0))
        outcome = run_stage(stage, cache, Resources(checkpoint_every=0))
        assert "input_error" not in outcome, outcome
        folder = cache / stage.folder_name
        return folder, json.loads((folder / "summary.json").read_text())

    return make


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_sampled_text_is_english_and_ends_by_itself(build, models, options):
    folder, _ = build(sample_stage(models["teacher"], "train", options))
    rollouts = read_rollouts(folder / "rollouts.parquet")
    assert len(rollouts) == 4 * 4
    tokens = " ".join(r.text for r in rollouts).lower().split()
    assert sum(word in {"the", "of", "to", "is", "and", "a", "in"} for word in tokens) / len(tokens) > 0.08
    assert all(-30 < log_prob <= 0 for r in rollouts for log_prob in r.log_probs)


@pytest.mark.parametrize("target", ["student", "toy:gemma3-target"])
def test_one_calibration_moves_and_its_reward_is_the_formula(build, models, options, target):
    stage = calibrate_stage(models["teacher"], options, target=models.get(target, target), eta="1")
    folder, _ = build(stage)
    lines = history(folder)
    assert len(lines) == 2
    assert all(torch.isfinite(torch.tensor([v for v in line.values() if isinstance(v, float)])).all() for line in lines)
    before, after = load_model(models["teacher"]).state_dict(), load_model(folder / "model").state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_calibration_reward_by_hand_on_one_example(models):
    """r_cal = log p_C(text) - log p_phi(text), each on its own tokens, the end of the turn counted once on both sides."""
    from repro.calibration.reward import TargetScorer

    prompt, text = "What is 2 + 3?", "2 + 3 = 5."
    policy_tokenizer = load_tokenizer(models["teacher"])
    ids = [*policy_tokenizer(text, add_special_tokens=False)["input_ids"], policy_tokenizer.eos_token_id]
    target = locate("toy:gemma3-target")
    scorer = TargetScorer(target, policy_tokenizer)
    scored = scorer([prompt], [ids], [policy_tokenizer.eos_token_id]).log_prob
    tokenizer = load_tokenizer(target)
    start = prompt_token_ids(tokenizer, prompt)
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        logits = load_model(target)(torch.tensor([start + ids])).logits[0, len(start) - 1 : -1].double()
    expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids)[:, None]).sum()
    assert float(scored[0]) == pytest.approx(float(expected), rel=1e-4)
    assert float(expected) < 0


@pytest.mark.parametrize("method", ["sft", "gkd-fkl", "gkd-rkl"])
def test_three_distillation_steps_lower_the_loss(build, models, options, method):
    folder, _ = build(distill_stage(models["student"], models["teacher"], method, options))
    losses = [line["loss"] for line in history(folder) if "loss" in line]
    assert len(losses) == 3
    assert losses[-1] < losses[0]


def test_evaluation_with_the_real_grader(build, models, options):
    _, summary = build(evaluate_stage(models["teacher"], options))
    task = summary["gsm8k"]
    assert task["items"] == 4
    assert 0 <= task["acc"] <= task["pass2"] <= 1
    assert 0 <= task["unparsed"] <= 1
    assert task["mean_tokens"] > 10
