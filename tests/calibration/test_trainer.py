import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calibration.renormalised import batch_renormalised
from safetensors.torch import load_file
from tiny_models import naive, qwen_tokenizer, save_multimodal_gemma, save_qwen
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from repro.calibration import group_advantages, grpo
from repro.calibration import trainer as module
from repro.calibration.advantages import group_z
from repro.calibration.config import CalibrationConfig
from repro.calibration.grpo import CalibrationTrainer
from repro.calibration.reward import TargetScorer
from repro.calibration.trainer import calibrate
from repro.errors import InputError
from repro.progress import silent
from repro.tasks import Item
from repro.training.resources import TrainingResources

G = 4


def config(**changes: Any) -> CalibrationConfig:
    settings: dict[str, Any] = {
        "eta": 1.0,
        "steps": 2,
        "prompts_per_step": 4,
        "group_size": G,
        "learning_rate": 1e-2,
        "lora_rank": 4,
        "lora_alpha": 8,
        "kl_beta": 0.02,
        "max_completion_tokens": 12,
        "loss_type": "dapo",
        "advantages": "group",
        "length_normalised": False,
        "engine": "transformers",
    }
    return CalibrationConfig(**settings | changes)


def odd_length(items: list[Item], texts: list[str]) -> list[float]:
    return [float(len(text) % 2) for text in texts]


def constant(items: list[Item], texts: list[str]) -> list[float]:
    return [1.0] * len(texts)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def run(base: Path, teacher: Path, target: Path, items: list[Item], **changes: Any) -> dict[str, Any]:
    keywords: dict[str, Any] = {"task_reward": odd_length, "seed": 3, "progress": silent}
    keywords |= {name: changes.pop(name) for name in (*keywords, "matches") if name in changes}
    resources = {
        name: changes.pop(name)
        for name in ("micro_batch", "checkpoint_every", "checkpoint_minutes", "server", "tracker")
        if name in changes
    }
    return calibrate(
        config(**changes),
        teacher=teacher,
        target=target,
        items=items,
        out=base / "out",
        work=base / "work",
        resources=TrainingResources(**resources),
        **keywords,
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """The trainer's rewards, advantages and samples, by step."""
    recorded: dict[str, list[Any]] = {"raw": [], "advantages": [], "sampled": [], "policy": [], "prompts": []}

    class Spy(CalibrationTrainer):
        def _log_rewards(self, reward_nK: torch.Tensor, group_size: int) -> None:
            recorded["raw"].append(reward_nK.clone())
            super()._log_rewards(reward_nK, group_size)

        def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
            out = super()._generate(prompts)
            recorded["prompts"].append(out[0])
            recorded["sampled"].append(out[1])
            recorded["policy"].append(self.policy_log_prob(out[1]))
            return out

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            recorded["advantages"].append(output["advantages"].clone())
            return output

    monkeypatch.setattr(module, "CalibrationTrainer", Spy)
    return recorded


@pytest.mark.parametrize("eta", [0.0, 1.0, -0.5])
def test_advantages_are_algorithm_1(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], seen: dict[str, list[Any]], eta: float
) -> None:
    run(tmp_path, teacher, student, items, eta=eta)
    for raw_nK, advantage_n in zip(seen["raw"], seen["advantages"], strict=True):
        expected = group_advantages(raw_nK[:, 0], raw_nK[:, 1], eta, G)
        torch.testing.assert_close(advantage_n.double(), expected, atol=1e-5, rtol=0)
        if eta == 0:
            torch.testing.assert_close(advantage_n.double(), group_z(raw_nK[:, 0], G), atol=1e-5, rtol=0)


def test_the_step_takes_what_group_advantages_returns(
    tmp_path: Path,
    teacher: Path,
    student: Path,
    items: list[Item],
    seen: dict[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TRL adds nothing but the group's mean, which Algorithm 1's advantages do not have."""
    chosen_n = torch.tensor([0.5, -0.5, 2.0, -2.0] * G)
    monkeypatch.setattr(grpo, "group_advantages", lambda *_: chosen_n)
    run(tmp_path, teacher, student, items, eta=-0.5)
    assert all(torch.equal(advantage_n, chosen_n) for advantage_n in seen["advantages"])


def test_batch_control_is_the_renormalised_sum(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], seen: dict[str, list[Any]]
) -> None:
    run(tmp_path, teacher, student, items, advantages="batch", eta=-0.3)
    for raw_nK, advantage_n in zip(seen["raw"], seen["advantages"], strict=True):
        expected = batch_renormalised(group_advantages(raw_nK[:, 0], raw_nK[:, 1], -0.3, G))
        torch.testing.assert_close(advantage_n.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("length_normalised", [False, True])
def test_raw_reward_is_target_minus_policy(
    tmp_path: Path,
    teacher: Path,
    stranger: Path,
    items: list[Item],
    seen: dict[str, list[Any]],
    length_normalised: bool,
) -> None:
    """At the first step the policy is the teacher: compared with single sequences in float64."""
    run(tmp_path, teacher, stranger, items, steps=1, length_normalised=length_normalised)
    tokenizer = qwen_tokenizer()
    scorer = TargetScorer(stranger, tokenizer)
    for row in range(0, 16, 5):
        prompt, sampled = seen["prompts"][0][row], seen["sampled"][0][row]
        policy = naive(teacher, prompt, sampled)
        assert seen["policy"][0][row] == pytest.approx(policy, abs=2e-4)
        user = tokenizer.decode(prompt).removeprefix("<|im_start|>user\n").partition("<|im_end|>")[0]
        target = scorer([user], [sampled], [tokenizer.eos_token_id])
        expected = target.log_prob.item() - policy
        if length_normalised:
            expected = target.log_prob.item() / target.tokens.item() - policy / len(sampled)
        assert seen["raw"][0][row, 1].item() == pytest.approx(expected, abs=4e-4)


def test_target_equal_to_the_policy_gives_no_reward(
    tmp_path: Path, teacher: Path, items: list[Item], seen: dict[str, list[Any]]
) -> None:
    run(tmp_path, teacher, teacher, items, steps=1)
    assert seen["raw"][0][:, 1].abs().max() < 1e-3


def test_history_and_model(tmp_path: Path, teacher: Path, student: Path, items: list[Item]) -> None:
    notes: list[tuple[int, int, str, str]] = []
    summary = run(tmp_path, teacher, student, items, steps=3, progress=lambda *a: notes.append(a))
    rows = lines(tmp_path / "out")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [note[:3] for note in notes] == [(n, 3, "steps") for n in (1, 2, 3)]
    assert "r_cal" in notes[0][3]
    first = rows[0]
    assert first["kl"] == 0  # the anchor is the teacher itself
    assert rows[-1]["kl"] > 0
    assert first["stopped_by_eos"] + first["stopped_by_length"] == pytest.approx(1)
    assert first["r_cal"] == pytest.approx(first["target_log_prob"] - first["policy_log_prob"], abs=1e-3)
    assert {"task_reward_length_correlation", "r_cal_length_correlation", "empty"} <= first.keys()
    assert {"task_reward_flat_groups", "r_cal_flat_groups", "length", "length_max"} <= first.keys()
    assert summary["steps"] == 3
    assert summary["r_cal"] == rows[-1]["r_cal"]

    folder = tmp_path / "out" / "model"
    assert AutoTokenizer.from_pretrained(folder).chat_template == qwen_tokenizer().chat_template
    assert GenerationConfig.from_pretrained(folder).eos_token_id == [qwen_tokenizer().eos_token_id]
    weights = load_file(folder / "model.safetensors")
    before = load_file(teacher / "model.safetensors")
    assert weights.keys() == before.keys()
    adapter_config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert adapter_config["base_model_name_or_path"] is None  # a path of this machine is not part of a result
    assert adapter_config["target_modules"] == sorted(adapter_config["target_modules"])
    adapter = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    key = "model.layers.0.mlp.up_proj"
    a, b = (adapter[f"base_model.model.{key}.lora_{part}.weight"] for part in "AB")
    torch.testing.assert_close(weights[f"{key}.weight"], before[f"{key}.weight"] + 8 / 4 * b @ a)
    assert b.abs().max() > 0


@pytest.mark.parametrize("family", ["same", "other"])
def test_the_sign_of_eta_decides_the_direction(tmp_path: Path, stranger: Path, items: list[Item], family: str) -> None:
    """eta > 0 raises r_cal and eta < 0 lowers it, by far more than the standard error of its mean."""
    # Models that hardly ever stop: stopping at once would lower r_cal too easily.
    teacher, student = (
        save_qwen(tmp_path / f"{layers}", layers=layers, seed=layers, end_scale=1.0) for layers in (2, 1)
    )
    means, errors = [], []
    for eta in (1.0, -1.0):
        base = tmp_path / str(eta)
        run(
            base,
            teacher,
            student if family == "same" else stranger,
            items,
            eta=eta,
            steps=12,
            group_size=8,
            prompts_per_step=8,
            learning_rate=3e-2,
            kl_beta=0.0,
            max_completion_tokens=6,
            task_reward=constant,
        )
        tail = lines(base / "out")[-4:]
        means.append(np.mean([row["r_cal"] for row in tail]))
        errors.append(np.mean([row["r_cal_std"] for row in tail]) / np.sqrt(4 * 64))
    assert means[0] - means[1] > 4 * np.hypot(*errors)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, teacher: Path, student: Path, items: list[Item]) -> Path:
    """A run of five steps; its artifact."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    run(folder, teacher, student, items, steps=5)
    return folder / "out"


def test_resume_gives_the_numbers_of_an_uninterrupted_run(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], uninterrupted: Path
) -> None:

    def killer(done: int, *_: Any) -> None:
        if done == 4:
            raise KilledError

    cut = tmp_path / "cut"
    with pytest.raises(KilledError):
        run(cut, teacher, student, items, steps=5, checkpoint_every=2, progress=killer)
    # A later checkpoint that was interrupted while it was written.
    broken = cut / "work" / "checkpoint-4"
    shutil.copytree(cut / "work" / "checkpoint-2", broken, dirs_exist_ok=True)
    (broken / "complete.json").unlink()
    (broken / "optimizer.pt").write_bytes(b"half")
    steps: list[int] = []
    run(
        cut,
        teacher,
        student,
        items,
        steps=5,
        checkpoint_every=2,
        progress=lambda done, *_: steps.append(done),
    )
    assert steps == [2, 3, 4, 5]  # where it resumes, then the steps
    assert lines(cut / "out") == lines(uninterrupted)
    cut_weights, weights = (load_file(out / "model" / "model.safetensors") for out in (cut / "out", uninterrupted))
    assert all(torch.equal(cut_weights[name], weights[name]) for name in weights)


def test_resume_from_a_checkpoint_by_time(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], uninterrupted: Path
) -> None:

    def killer(done: int, *_: Any) -> None:
        if done == 4:
            raise KilledError

    cut, steps = tmp_path / "cut", []
    with pytest.raises(KilledError):
        run(cut, teacher, student, items, steps=5, checkpoint_minutes=1e-9, progress=killer)
    assert sorted(folder.name for folder in (cut / "work").glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3"]
    run(cut, teacher, student, items, steps=5, checkpoint_minutes=60, progress=lambda done, *_: steps.append(done))
    assert steps == [3, 4, 5]
    assert not (cut / "work" / "checkpoint-5").exists()  # the artifact follows at once
    assert lines(cut / "out") == lines(uninterrupted)
    cut_weights, weights = (load_file(out / "model" / "model.safetensors") for out in (cut / "out", uninterrupted))
    assert all(torch.equal(cut_weights[name], weights[name]) for name in weights)


def test_killed_after_the_last_checkpoint(tmp_path: Path, teacher: Path, student: Path, items: list[Item]) -> None:
    """All steps done, nothing saved yet: no step is repeated."""
    first = run(tmp_path, teacher, student, items, checkpoint_every=1)
    history, weights = (
        lines(tmp_path / "out"),
        load_file(tmp_path / "out" / "model" / "model.safetensors"),
    )
    shutil.rmtree(tmp_path / "out")
    steps: list[int] = []
    again = run(tmp_path, teacher, student, items, checkpoint_every=1, progress=lambda n, *_: steps.append(n))
    assert steps == []
    assert again == first
    assert lines(tmp_path / "out") == history
    saved = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert all(torch.equal(saved[name], weights[name]) for name in weights)


def test_checkpoints_of_another_run_are_not_used(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item]
) -> None:
    run(tmp_path, teacher, student, items, checkpoint_every=1)
    for changes in ({"eta": -1.0}, {"seed": 4}):
        done: list[tuple[Any, ...]] = []
        run(
            tmp_path,
            teacher,
            student,
            items,
            checkpoint_every=1,
            progress=lambda *step, done=done: done.append(step),
            **changes,
        )
        assert [step[0] for step in done] == [1, 2]


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo"])
def test_micro_batches_change_nothing(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], loss_type: str
) -> None:
    single, cut = (
        run(tmp_path / str(size), teacher, student, items, steps=1, micro_batch=size, loss_type=loss_type)
        for size in (None, 3)  # the largest divisor below 3 is taken
    )
    for name in ("loss", "grad_norm", "r_cal", "kl"):
        assert cut[name] == pytest.approx(single[name], rel=1e-4, abs=1e-6)


def test_same_seed_same_run_other_seed_other_samples(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item]
) -> None:
    first, again, different = (
        run(tmp_path / str(n), teacher, student, items, seed=seed) for n, seed in enumerate((0, 0, 1))
    )
    assert first == again
    assert first["r_cal"] != different["r_cal"]


def test_bad_input(tmp_path: Path, teacher: Path, student: Path, items: list[Item]) -> None:
    with pytest.raises(InputError, match="no training items"):
        run(tmp_path, teacher, student, [])
    with pytest.raises(InputError, match="bnpo"):
        run(tmp_path, teacher, student, items, loss_type="bnpo", micro_batch=4)
    mute_teacher = tmp_path / "no_template"
    shutil.copytree(teacher, mute_teacher)
    (mute_teacher / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="chat template"):
        run(tmp_path, mute_teacher, student, items)
    assert not (tmp_path / "out").exists()


def test_a_multimodal_teacher_is_calibrated_as_its_language_model(
    tmp_path: Path, stranger: Path, items: list[Item]
) -> None:
    """Gemma-3 12B with its padded vocabulary, towards a target of a different width (1B)."""
    run(tmp_path, save_multimodal_gemma(tmp_path / "teacher"), stranger, items, reasoning=False)
    saved = AutoConfig.from_pretrained(tmp_path / "out" / "model")
    assert saved.model_type == "gemma3_text"
    assert saved.vocab_size > AutoConfig.from_pretrained(stranger).vocab_size
    assert all(math.isfinite(row["r_cal"]) for row in lines(tmp_path / "out"))


def test_a_tracker_gets_each_steps_figures_and_changes_nothing(
    tmp_path: Path, teacher: Path, student: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, dict[str, Any]]] = []

    class Tracker(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            logged.append((args.run_name, dict(logs)))

    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "trackio", Tracker)
    run(tmp_path / "plain", teacher, student, items)
    assert logged == []
    run(tmp_path / "tracked", teacher, student, items, tracker="trackio")
    assert {name for name, _ in logged} == {"work"}  # the stage's folder
    assert [logs["loss"] for _, logs in logged if "loss" in logs] == [
        line["loss"] for line in lines(tmp_path / "tracked/out")
    ]
    plain, tracked = (tmp_path / name / "out/model/model.safetensors" for name in ("plain", "tracked"))
    assert plain.read_bytes() == tracked.read_bytes()
