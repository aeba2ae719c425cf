import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from distillation.reference import Sequences, reference
from safetensors.torch import load_file
from tiny_models import gemma_tokenizer, in_float64, qwen_tokenizer
from transformers import AutoTokenizer, GenerationConfig, TrainerCallback
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from repro.distillation import distill as module
from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.distillation.losses import forward_kl, reverse_kl
from repro.distillation.pair import check_pair
from repro.errors import InputError
from repro.generation.rollouts import Rollout, write_rollouts
from repro.progress import silent
from repro.tasks import Item
from repro.training import history
from repro.training.resources import TrainingResources

METHODS = ["sft", "gkd-fkl", "gkd-rkl"]
STEP = 12


def config(**changes: Any) -> DistillationConfig:
    settings: dict[str, Any] = {
        "method": "gkd-rkl",
        "steps": 1,
        "sequences_per_step": STEP,
        "learning_rate": 1e-2,
        "warmup_fraction": 0.0,
        "max_completion_tokens": 14,
        "traces": "full",
        "engine": "transformers",
    }
    return DistillationConfig(**settings | changes)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Path:
    """Three completions for each item, of different lengths; every third was truncated at the cap."""
    tokenizer, rollouts = qwen_tokenizer(), []
    for number, item in enumerate(items):
        for sample in range(3):
            text = f"{'so ' * (number % 4)}{item.prompt[:5]}\\boxed{{{item.key}}}" + "." * sample
            ids = tokenizer(text)["input_ids"]
            ended = sample < 2
            ids = [*ids, tokenizer.eos_token_id] if ended else ids
            stop = "eos" if ended else "length"
            rollouts.append(Rollout(item.id, item.task, item.prompt, sample, [], ids, [0.0] * len(ids), text, stop))
    path = tmp_path_factory.mktemp("stored") / "rollouts.parquet"
    write_rollouts(path, rollouts)
    return path


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def odd_length(items: list[Item], texts: list[str]) -> list[float]:
    return [float(len(text) % 2) for text in texts]


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(teacher: Path, student: Path, items: list[Item], stored: Path) -> Run:
    def go(base: Path, **changes: Any) -> dict[str, Any]:
        keywords: dict[str, Any] = {
            "student": student,
            "teacher": teacher,
            "items": items,
            "completions": stored,
            "task_reward": odd_length,
            "seed": 5,
            "progress": silent,
            "weights": None,
        }
        keywords |= {name: changes.pop(name) for name in keywords if name in changes}
        resources = {
            name: changes.pop(name)
            for name in ("micro_batch", "checkpoint_every", "checkpoint_minutes")
            if name in changes
        }
        keywords["resources"] = TrainingResources(**resources)
        return distill(config(**changes), out=base / "out", work=base / "work", **keywords)

    return go


class Recorder(TrainerCallback):
    """Records the gradients before the first optimiser step, and the sequences that they come from."""

    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}
        self.sequences: Sequences = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            named = kwargs["model"].named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(history, "ReportProgress", lambda *_: recorder)

    for trainer in (module.on_policy.OnPolicyTrainer, module.off_policy.OffPolicyTrainer):

        def record(self: Any, inputs: Any, inner: Any = trainer._generate_and_score_completions) -> Any:
            out = inner(self, inputs)
            for part in ("prompt", "completion"):
                masks = out[f"{part}_mask"].bool()
                rows = [ids[mask].tolist() for ids, mask in zip(out[f"{part}_ids"], masks)]
                recorder.sequences = rows if part == "prompt" else list(zip(recorder.sequences, rows))
            return out

        monkeypatch.setattr(trainer, "_generate_and_score_completions", record)

    def record_row(*args: Any, original: Any = module.sft.sft_row) -> Any:
        row = original(*args)
        prompt_tokens = row["labels"].count(-100)
        recorder.sequences.append((row["input_ids"][:prompt_tokens], row["input_ids"][prompt_tokens:]))
        return row

    monkeypatch.setattr(module.sft, "sft_row", record_row)
    return recorder


LOSSES = {"gkd-fkl": forward_kl, "gkd-rkl": reverse_kl}


def padded_loss(method: str, teacher: Path, student: Path, sequences: Sequences) -> float:
    """The formula of `repro.distillation.losses` on one padded batch of all the step's sequences, in float64."""
    T = max(len(prompt) + len(completion) for prompt, completion in sequences)
    ids_BT, mask_BT = torch.zeros(len(sequences), T, dtype=torch.long), torch.zeros(len(sequences), T)
    is_completion_BT = torch.zeros(len(sequences), T, dtype=torch.bool)
    for row, (prompt, completion) in enumerate(sequences):
        end = len(prompt) + len(completion)
        ids_BT[row, :end], mask_BT[row, :end] = torch.tensor(prompt + completion), 1
        is_completion_BT[row, len(prompt) : end] = True
    logits = []
    for folder in (student, teacher):
        model = in_float64(folder)
        with torch.no_grad():
            logits.append(model(ids_BT, attention_mask=mask_BT).logits[:, :-1])
    return LOSSES[method](*logits, is_completion_BT[:, 1:]).item()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("micro_batch", [None, 3])
def test_loss_and_gradient_are_the_definition(
    tmp_path: Path,
    run: Run,
    recorder: Recorder,
    teacher: Path,
    student: Path,
    method: str,
    micro_batch: int | None,
) -> None:
    """Compared with Eq 2 (or the cross-entropy) without batches: padding and micro-batches change nothing."""
    run(tmp_path, method=method, micro_batch=micro_batch)
    assert len(recorder.sequences) == STEP
    assert len({len(completion) for _, completion in recorder.sequences}) > 1
    loss, gradients = reference(method, teacher, student, recorder.sequences)
    row = lines(tmp_path / "out")[0]
    assert row["loss"] == pytest.approx(loss, rel=1e-5)
    norm = torch.stack([g.norm() for g in gradients.values()]).norm().item()
    assert row["grad_norm"] == pytest.approx(norm, rel=1e-4)
    if method in LOSSES:
        assert row["loss"] == pytest.approx(padded_loss(method, teacher, student, recorder.sequences), rel=1e-5)
    clip = min(1.0, 1.0 / norm)
    assert recorder.gradients.keys() == gradients.keys()
    for name, expected in gradients.items():
        gradient = recorder.gradients[name].double()
        assert (gradient - clip * expected).norm() < 1e-4 * clip * norm, name


@pytest.mark.parametrize("method", LOSSES)
@pytest.mark.parametrize("micro_batch", [None, 3])
def test_a_student_has_nothing_to_learn_from_itself(
    tmp_path: Path, run: Run, recorder: Recorder, student: Path, method: str, micro_batch: int | None
) -> None:
    """A wrong shift, mask or temperature would give a loss, and rounding a negative one."""
    run(tmp_path, method=method, teacher=student, micro_batch=micro_batch)
    assert recorder.sequences
    row = lines(tmp_path / "out")[0]
    assert abs(row["loss"]) < 1e-6
    assert row["grad_norm"] < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_a_cut_step_pads_less_and_logs_the_same_figures(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Its forwards take the step's sequences by length; entropy and token accuracy are means over the step's tokens."""
    slots: list[int] = []
    forward = Qwen3Model.forward

    def count(self: Any, input_ids: Any = None, **kwargs: Any) -> Any:
        if self.training:
            slots.append(input_ids.numel())
        return forward(self, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(Qwen3Model, "forward", count)
    run(tmp_path / "uncut", method=method, max_completion_tokens=40)
    uncut = sum(slots)
    slots.clear()
    run(tmp_path / "cut", method=method, max_completion_tokens=40, micro_batch=3)
    assert len([n for n in slots if n]) >= STEP // 3
    assert sum(slots) < 0.9 * uncut
    row, cut_row = lines(tmp_path / "uncut" / "out")[0], lines(tmp_path / "cut" / "out")[0]
    for name in {"entropy", "token_accuracy"} & row.keys():
        assert cut_row[name] == pytest.approx(row[name], rel=1e-5)


def test_the_two_directions_differ(teacher: Path, student: Path) -> None:
    sequences: Sequences = [([5, 6, 7], [8, 9, 10])]
    forward, _ = reference("gkd-fkl", teacher, student, sequences)
    reverse, _ = reference("gkd-rkl", teacher, student, sequences)
    assert abs(forward - reverse) > 1e-2 * forward


def test_methods_visit_the_same_prompts(tmp_path: Path, run: Run, recorder: Recorder) -> None:
    """So a comparison of methods is paired; and each prompt gets one of its own completions."""
    prompts: dict[str, list[list[int]]] = {}
    for method in METHODS:
        recorder.sequences = []
        run(tmp_path / method, method=method)
        prompts[method] = [prompt for prompt, _ in recorder.sequences]
        if method != "gkd-rkl":
            for prompt, completion in recorder.sequences:
                text = qwen_tokenizer().decode(completion)
                assert text.replace("so ", "")[:5] in qwen_tokenizer().decode(prompt)
    assert prompts["sft"] == prompts["gkd-fkl"] == prompts["gkd-rkl"]


def test_a_prompt_gets_several_rollouts_in_a_step(tmp_path: Path, run: Run, recorder: Recorder) -> None:
    """Appendix D: rollouts per prompt are a number of teacher and student. One is what ran before there was a choice."""
    visited: dict[int, list[list[int]]] = {}
    for rollouts in (1, 3):
        recorder.sequences = []
        run(tmp_path / str(rollouts), method="gkd-rkl", steps=1, sequences_per_step=6, rollouts_per_prompt=rollouts)
        visited[rollouts] = [prompt for prompt, _ in recorder.sequences]
    first, second = visited[1][:2]
    assert visited[3] == [first] * 3 + [second] * 3
    completions = [tuple(completion) for _, completion in recorder.sequences]
    assert len(set(completions)) > 2  # each is drawn by itself


@pytest.mark.parametrize(
    ("method", "rollouts", "message"),
    [("sft", 2, "for gkd-rkl only"), ("gkd-fkl", 2, "for gkd-rkl only"), ("gkd-rkl", 4, "does not divide")],
)
def test_rollouts_that_no_step_can_hold_are_refused(method: str, rollouts: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(method=method, sequences_per_step=6, rollouts_per_prompt=rollouts)


@pytest.mark.parametrize("method", METHODS)
def test_training_lowers_the_loss(tmp_path: Path, run: Run, method: str) -> None:
    summary = run(tmp_path, method=method, steps=12)
    rows = lines(tmp_path / "out")
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert summary["loss"] == rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_on_policy_accuracy_is_the_reward_of_the_students_completions(
    tmp_path: Path, run: Run, recorder: Recorder
) -> None:
    rewarded: list[tuple[Item, str]] = []

    def reward(items: list[Item], texts: list[str]) -> list[float]:
        rewarded.extend(zip(items, texts))
        return [0.25] * len(texts)

    run(tmp_path, task_reward=reward)
    row = lines(tmp_path / "out")[0]
    tokenizer = qwen_tokenizer()
    assert row["accuracy"] == 0.25
    assert row["stopped_by_eos"] + row["stopped_by_length"] == pytest.approx(1)
    for (item, text), (prompt, completion) in zip(rewarded, recorder.sequences, strict=True):
        assert item.prompt in tokenizer.decode(prompt)
        assert text == tokenizer.decode(completion, skip_special_tokens=True)


@pytest.mark.parametrize("score", [0.5, math.nan])
def test_scores_of_open_tasks_are_no_part_of_the_accuracy(
    tmp_path: Path, run: Run, items: list[Item], score: float
) -> None:
    mixed = [replace(item, task="toy-dolly", key=None) if n % 2 else item for n, item in enumerate(items)]

    def reward(items: list[Item], texts: list[str]) -> list[float]:
        return [score if item.task == "toy-dolly" else 1.0 for item in items]

    summary = run(tmp_path, items=mixed, task_reward=reward)
    rows = lines(tmp_path / "out")
    assert {row["accuracy"] for row in rows} == {1.0}
    assert {row.get("open_reward") for row in rows} == {0.5 if score == 0.5 else None}
    assert summary["accuracy"] == 1.0


class KilledError(Exception):
    pass


@pytest.mark.parametrize("method", METHODS)
def test_resume_gives_the_numbers_of_an_uninterrupted_run(tmp_path: Path, run: Run, method: str) -> None:
    uninterrupted, cut = tmp_path / "uninterrupted", tmp_path / "cut"
    run(uninterrupted, method=method, steps=5)

    def killer(done: int, *_: Any) -> None:
        if done == 4:
            raise KilledError

    with pytest.raises(KilledError):
        run(cut, method=method, steps=5, checkpoint_every=2, progress=killer)
    steps: list[int] = []
    run(cut, method=method, steps=5, checkpoint_every=2, progress=lambda n, *_: steps.append(n))
    assert steps == [2, 3, 4, 5]  # where it resumes, then the steps
    assert lines(cut / "out") == lines(uninterrupted / "out")
    weights, cut_weights = (load_file(base / "out" / "model" / "model.safetensors") for base in (uninterrupted, cut))
    assert all(torch.equal(weights[name], cut_weights[name]) for name in weights)


@pytest.mark.parametrize("method", METHODS)
def test_killed_after_the_last_checkpoint(tmp_path: Path, run: Run, method: str) -> None:
    """All steps done, nothing saved yet: no step is repeated."""
    first = run(tmp_path, method=method, steps=2, checkpoint_every=1)
    weights = load_file(tmp_path / "out" / "model" / "model.safetensors")
    shutil.rmtree(tmp_path / "out")
    steps: list[int] = []
    again = run(tmp_path, method=method, steps=2, checkpoint_every=1, progress=lambda n, *_: steps.append(n))
    assert steps == []
    assert again == first
    saved = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert all(torch.equal(saved[name], weights[name]) for name in weights)


def test_model_folder_keeps_tokenizer_and_ends(tmp_path: Path, run: Run, student: Path) -> None:
    run(tmp_path)
    folder = tmp_path / "out" / "model"
    assert AutoTokenizer.from_pretrained(folder).chat_template == qwen_tokenizer().chat_template
    before, after = (GenerationConfig.from_pretrained(f).to_diff_dict() for f in (student, folder))
    assert after == before
    assert (folder / "config.json").read_text() == (student / "config.json").read_text()


def test_sft_across_tokenizers_uses_the_students_tokens(
    tmp_path: Path, run: Run, recorder: Recorder, stranger: Path, teacher: Path
) -> None:
    """Text is encoded by the student's tokenizer, in its template, and ends with its end of turn."""
    run(tmp_path, method="sft", student=stranger, max_completion_tokens=64)
    gemma = gemma_tokenizer()
    ends = 0
    for prompt, completion in recorder.sequences:
        text = gemma.decode(completion, skip_special_tokens=True)
        assert gemma.decode(prompt).startswith("<bos><start_of_turn>user\n")
        assert "\\boxed{" in text
        ended = completion[-1] == gemma.convert_tokens_to_ids("<end_of_turn>")
        assert ended is not text.endswith("..")  # those were cut
        assert gemma.eos_token_id not in completion
        ends += ended
    assert 0 < ends < STEP
    loss, _ = reference("sft", stranger, stranger, recorder.sequences)
    assert lines(tmp_path / "out")[0]["loss"] == pytest.approx(loss, rel=1e-5)


def test_answer_only_traces(tmp_path: Path, run: Run, recorder: Recorder) -> None:
    run(tmp_path, method="gkd-fkl", traces="answer-only")
    for _, completion in recorder.sequences:
        text = qwen_tokenizer().decode(completion)
        assert text.startswith("\\boxed{")
        assert text.endswith("}<|im_end|>")


def test_check_pair(tmp_path: Path, teacher: Path, student: Path, stranger: Path) -> None:
    check_pair(teacher, student)
    with pytest.raises(InputError, match=r"different tokenizers.*sft"):
        check_pair(teacher, stranger)


def test_bad_input(tmp_path: Path, run: Run, stranger: Path, items: list[Item], student: Path) -> None:
    with pytest.raises(InputError, match="stored completions"):
        run(tmp_path, method="sft", completions=None)
    with pytest.raises(InputError, match="needs the teacher"):
        run(tmp_path, teacher=None)
    with pytest.raises(InputError, match="different tokenizers"):
        run(tmp_path, student=stranger)
    with pytest.raises(InputError, match="no training items"):
        run(tmp_path, items=[])
    with pytest.raises(InputError, match="no stored completion"):
        run(tmp_path, method="sft", items=[Item("other", "sum", "1 + 1 = ?", "2")])
    mute = tmp_path / "no_template"
    shutil.copytree(student, mute)
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="chat template"):
        run(tmp_path, student=mute)
    assert not (tmp_path / "out").exists()
