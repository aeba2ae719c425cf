"""The trainers' `divergence` setting: each loss on real completions, its refusals, and what it leaves as it was."""

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import in_float64
from transformers import AutoModelForCausalLM

from repro.distillation import distill as module
from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.distillation.loss import LOSSES, Completions, TokenDistributions
from repro.errors import InputError
from repro.models.loading import load_tokenizer
from repro.progress import silent
from repro.recipes import toy
from repro.recipes.settings import override
from repro.tasks import Item
from repro.training.resources import TrainingResources

STEP = 12
NAMED = [name for name in LOSSES.built_in if name != "rkl"]
Row = dict[str, float]
Run = Callable[..., list[Row]]


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


def odd_length(items: list[Item], texts: list[str]) -> list[float]:
    return [float(len(text) % 2) for text in texts]


@pytest.fixture(scope="module")
def teacher(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student with noise in its weights: of some of its completions it thinks more than the student, of others less."""
    model = AutoModelForCausalLM.from_pretrained(student)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("models") / "teacher"
    model.save_pretrained(folder)
    load_tokenizer(student).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, teacher: Path, student: Path, items: list[Item]) -> Iterator[Run]:
    """Trains on-policy; returns the rows of the history. `run.seen` has what the last training step sampled."""
    trainer = module.on_policy.OnPolicyTrainer

    def record(self: Any, inputs: Any, inner: Any = trainer._generate_and_score_completions) -> Any:
        go.seen = inner(self, inputs)  # type: ignore[attr-defined]
        go.right = [
            n % 2 for n in map(len, self._tokenizer.batch_decode(completions(go.seen), skip_special_tokens=True))
        ]  # type: ignore[attr-defined]
        return dict(go.seen)  # type: ignore[attr-defined]

    def go(micro_batch: int | None = None, teacher: Path = teacher, **changes: Any) -> list[Row]:
        base = tmp_path_factory.mktemp("run")
        distill(
            config(**changes),
            student=student,
            teacher=teacher,
            items=items,
            completions=None,
            task_reward=odd_length,
            seed=5,
            out=base / "out",
            work=base / "work",
            progress=silent,
            resources=TrainingResources(micro_batch=micro_batch),
        )
        return [json.loads(line) for line in (base / "out" / "history.jsonl").read_text().splitlines()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "_generate_and_score_completions", record)
        yield go


@pytest.fixture(scope="module")
def first_step(run: Any) -> Callable[[str], SimpleNamespace]:
    """Returns the row of a step with a loss, and what it sampled; each loss is trained once."""

    @functools.cache
    def step(name: str) -> SimpleNamespace:
        row = run(divergence=name)[0]
        return SimpleNamespace(row=row, seen=run.seen, right=run.right)

    return step


def completions(batch: dict[str, torch.Tensor]) -> list[list[int]]:
    masks = batch["completion_mask"].bool()
    return [ids[mask].tolist() for ids, mask in zip(batch["completion_ids"], masks)]


def by_definition(name: str, step: Any, teacher: Path, student: Path) -> float:
    """The loss of the recorded step: the models' full logits in float64, one sequence at a time."""
    loss, total, tokens = LOSSES.parse(name), 0.0, 0
    models = [in_float64(folder) for folder in (student, teacher)]
    prompts = [ids[mask.bool()].tolist() for ids, mask in zip(step.seen["prompt_ids"], step.seen["prompt_mask"])]
    for prompt, completion, is_right in zip(prompts, completions(step.seen), step.right, strict=True):
        ids, n = torch.tensor([prompt + completion]), len(completion)
        with torch.no_grad():
            p, q = (model(ids).logits[0, -n - 1 : -1].log_softmax(-1) for model in models)
        target = torch.tensor(completion)
        divergence = loss.per_token(TokenDistributions(student=p, teacher=q, reference=p, ids=target))
        realised = [logp.gather(-1, target[:, None]).T for logp in (p, q)]
        weights = loss.weights(
            Completions(
                mask=torch.ones(1, n, dtype=torch.bool),
                ids=target[None],
                student_entropy=-(p.exp() * p).sum(-1)[None],
                student_log_prob=realised[0],
                teacher_log_prob=realised[1],
                rewards=torch.tensor([float(is_right)]),
            )
        )
        total += float((divergence if weights is None else divergence * weights[0]).sum())
        tokens += n
    return total / tokens


@pytest.mark.parametrize("name", NAMED)
def test_the_trainer_computes_the_loss_whatever_the_micro_batch(
    run: Any, first_step: Any, teacher: Path, student: Path, name: str
) -> None:
    row = first_step(name).row
    assert row["loss"] == pytest.approx(by_definition(name, first_step(name), teacher, student), rel=1e-5)
    assert row["loss"] > 0
    cut = run(divergence=name, micro_batch=3)[0]
    for figure in ("loss", "grad_norm", "entropy", "accuracy"):
        assert cut[figure] == pytest.approx(row[figure], rel=1e-4), figure


def test_every_loss_samples_what_the_default_samples_and_steps_elsewhere(run: Any, first_step: Any) -> None:
    """The first step's completions do not depend on the loss; its gradient does."""
    default = run()[0]
    sampled = completions(run.seen)
    for name in NAMED:
        row = first_step(name).row
        assert completions(first_step(name).seen) == sampled, name
        if name not in ("reference-anchored", "wrong-trace-gate"):  # no gradient at the start; nothing to gate
            assert abs(row["grad_norm"] - default["grad_norm"]) > 1e-3 * default["grad_norm"], name


def test_the_gate_leaves_out_wrong_traces_that_the_teacher_prefers(run: Any, student: Path, tmp_path: Path) -> None:
    """A teacher near the student prefers some of its samples, and half of those count as wrong."""
    near, noise = tmp_path / "near", torch.Generator().manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(student)
    for parameter in model.parameters():
        parameter.data += 0.1 * parameter.std() * torch.randn(parameter.shape, generator=noise)
    shutil.copytree(student, near)
    model.save_pretrained(near)
    full, gated = (run(teacher=near, divergence=name)[0] for name in ("rkl", "wrong-trace-gate"))
    assert 0 < gated["loss"] < 0.95 * full["loss"]
    assert gated["loss"] == pytest.approx(by_definition("wrong-trace-gate", run, near, student), rel=1e-4)
    assert run(teacher=near, divergence="wrong-trace-gate", micro_batch=3)[0]["loss"] == pytest.approx(
        gated["loss"], rel=1e-4
    )


def test_the_anchor_pulls_once_the_student_has_moved(run: Any) -> None:
    free, anchored = run(steps=2), run(steps=2, divergence="reference-anchored(beta=4)")
    assert anchored[0]["loss"] == pytest.approx(free[0]["loss"], rel=1e-5)
    assert anchored[0]["grad_norm"] == pytest.approx(free[0]["grad_norm"], rel=1e-4)
    assert anchored[1]["loss"] > 1.01 * free[1]["loss"]


def test_naming_the_methods_own_loss_changes_nothing() -> None:
    assert config(divergence="rkl") == config()
    assert config(method="gkd-fkl", divergence="fkl").divergence is None
    assert config(divergence="fkl").divergence.label == "fkl"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("gkd_rkl.divergence=jds", "loss 'jds': no such loss. Did you mean jsd? `repro list --losses` shows all 10"),
        ("gkd_rkl.divergence=jsd(beta=2)", "loss 'jsd': beta = '2': must be less than 1. Its settings: beta"),
        (
            "sft.divergence=jsd",
            "divergence 'jsd': sft has no divergence. Use it with gkd-fkl or gkd-rkl",
        ),
        (
            "gkd_fkl.divergence=wrong-trace-gate",
            "divergence 'wrong-trace-gate': it needs rewards of the student's completions, which gkd-fkl does not have. Use it"
            " with gkd-rkl",
        ),
    ],
)
def test_what_cannot_be_is_one_line_at_planning_time(assignment: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        override(toy.settings(), [assignment])
    assert str(error.value) == message


def test_a_setting_of_the_loss_is_part_of_the_identity() -> None:
    from repro.recipes.catalog import plan

    def students(*assignments: str) -> set[str]:
        study = plan("figure1a", scale="toy", assignments=assignments)
        return {stage.folder_name for stage in study.stages() if stage.kind == "distill"}

    default = students()
    assert students("gkd_rkl.divergence=rkl") == default
    changed = [students(f"gkd_rkl.divergence={text}") for text in ("jsd", "jsd(beta=0.3)", "top-k-tail")]
    assert not default & changed[0]
    assert not changed[0] & changed[1]
    assert not changed[0] & changed[2]
    assert students("gkd_rkl.divergence=jsd(beta=0.5)") == changed[0]
