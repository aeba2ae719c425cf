"""DOGe's training of the output layer: its loss against enumeration, what it leaves as it is, and what a kill leaves."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import gemma_tokenizer, qwen_tokenizer, save_gemma
from transformers import AutoModelForCausalLM

from repro.errors import InputError
from repro.generation.rollouts import Rollout, write_rollouts
from repro.guards import output_layer, output_layer_trainer
from repro.guards.config import OutputLayerConfig
from repro.guards.output_layer import reasoning_tokens, train_output_layer, untie
from repro.guards.output_layer_trainer import summed_losses, token_losses
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_for_training
from repro.progress import silent
from repro.tasks import Item
from repro.training.resources import TrainingResources

STEP = 6
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def config(**changes: Any) -> OutputLayerConfig:
    settings: dict[str, Any] = {
        "strength": 0.5,
        "temperature": 2.0,
        "steps": 1,
        "sequences_per_step": STEP,
        "learning_rate": 1e-2,
        "warmup_fraction": 0.0,
        "max_completion_tokens": 20,
        "reasoning": True,
    }
    return OutputLayerConfig(**settings | changes)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Path:
    """Two completions for each item, of different lengths; every fifth states no answer."""
    tokenizer, rollouts = qwen_tokenizer(), []
    for number, item in enumerate(items):
        for sample in range(2):
            answer = f"\\boxed{{{item.key}}}" if (2 * number + sample) % 5 else "hm"
            text = f"{'so ' * (number % 4)}{item.prompt[:5]} {answer}"
            ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
            rollouts.append(Rollout(item.id, item.task, item.prompt, sample, [], ids, [0.0] * len(ids), text, "eos"))
    path = tmp_path_factory.mktemp("stored") / "rollouts.parquet"
    write_rollouts(path, rollouts)
    return path


@pytest.fixture
def run(teacher: Path, student: Path, items: list[Item], stored: Path):
    def go(base: Path, *, progress: Any = silent, resources: Any = None, **changes: Any) -> dict[str, Any]:
        return train_output_layer(
            config(**changes),
            teacher=teacher,
            proxy=student,
            items=items,
            completions=stored,
            seed=5,
            out=base / "out",
            work=base / "work",
            progress=progress,
            resources=TrainingResources(**resources or {}),
        )

    return go


def history(base: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (base / "out" / "history.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def enumerate_losses(z_V: list[float], token: int, q_K: list[float], temperature: float):
    """-log p(token) and its gradient; KL(p^(1/T) || q^(1/T)) over the first K ids and its gradient. Sums, no torch."""
    V, K = len(z_V), len(q_K)
    p_V = [math.exp(z) / sum(map(math.exp, z_V)) for z in z_V]
    mass = [sum(math.exp(x / temperature) for x in values) for values in (z_V[:K], q_K)]
    p_K, q = ([math.exp(x / temperature) / m for x in values] for values, m in zip((z_V[:K], q_K), mass))
    kl = sum(p_K[k] * math.log(p_K[k] / q[k]) for k in range(K))
    grad_kl = [p_K[j] * (math.log(p_K[j] / q[j]) - kl) / temperature for j in range(K)] + [0.0] * (V - K)
    return -math.log(p_V[token]), [p_V[j] - (j == token) for j in range(V)], kl, grad_kl


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("K", [7, 5])
def test_each_loss_and_its_gradient_are_those_of_enumeration(temperature, K):
    generator = torch.Generator().manual_seed(0)
    z_NV = (3 * torch.randn(4, 7, dtype=torch.float64, generator=generator)).requires_grad_()
    q_NK = 3 * torch.randn(4, K, dtype=torch.float64, generator=generator)
    ids_N = torch.tensor([0, 6, 3, 3])
    nll_N, kl_N = token_losses(z_NV, ids_N, q_NK, temperature)
    grads = [torch.autograd.grad(loss.sum(), z_NV, retain_graph=True)[0] for loss in (nll_N, kl_N)]
    for n in range(4):
        z, q = z_NV[n].tolist(), q_NK[n].tolist()
        nll, grad_nll, kl, grad_kl = enumerate_losses(z, int(ids_N[n]), q, temperature)
        assert nll_N[n].item() == pytest.approx(nll, rel=1e-12)
        assert kl_N[n].item() == pytest.approx(kl, rel=1e-12)
        assert grads[0][n].tolist() == pytest.approx(grad_nll, abs=1e-12)
        assert grads[1][n].tolist() == pytest.approx(grad_kl, abs=1e-12)


def test_parts_add_up_to_the_sum_and_its_gradient(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    z_NV = torch.randn(10, 7, dtype=torch.float64, generator=generator).requires_grad_()
    q_NK = torch.randn(10, 5, dtype=torch.float64, generator=generator)
    ids_N, guarded_N = torch.arange(10) % 7, (torch.arange(10) % 3 > 0).double()
    arguments = z_NV, ids_N, q_NK, guarded_N, 2.0
    nll_N, kl_N = token_losses(z_NV, ids_N, q_NK, 2.0)
    expected = torch.stack([nll_N.sum(), kl_N[guarded_N > 0].sum()])
    expected_grad = torch.autograd.grad(expected[0] - 0.3 * expected[1], z_NV)[0]
    for at_once in (10, 4):
        monkeypatch.setattr(output_layer_trainer, "TOKENS_AT_ONCE", at_once)
        sums = summed_losses(*arguments)
        assert torch.allclose(sums, expected, rtol=1e-12)
        assert torch.allclose(torch.autograd.grad(sums[0] - 0.3 * sums[1], z_NV)[0], expected_grad, atol=1e-14)


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("so 1 + 2 = 3 \\boxed{3}", "so 1 + 2 = 3 "),
        ("\\boxed{1} no, so \\boxed{3}", "\\boxed{1} no, so "),
        ("it is so. Answer: B", "it is so. "),
        ("\\boxed{3}", ""),
        ("no answer here", ""),
        ("cut off \\boxed{3", ""),
    ],
)
@pytest.mark.parametrize("make", [qwen_tokenizer, gemma_tokenizer])
def test_reasoning_is_what_comes_before_the_final_answer(make, text, reasoning):
    tokenizer = make()
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    count = reasoning_tokens(tokenizer, ids)
    before = tokenizer.decode(ids[:count], skip_special_tokens=True)
    assert reasoning.startswith(before)
    # at most the token that reaches into the answer is left out
    assert len(tokenizer.decode(ids[: count + 1], skip_special_tokens=True)) > len(reasoning) or not reasoning


def exact_step(teacher: Path, student: Path, rows: list[dict[str, Any]]) -> tuple[float, float]:
    """The loss of a step and the norm of its gradient in the output layer, sequence by sequence in float64."""
    model, proxy = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval() for path in (teacher, student)
    )
    untie(model)
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        P, ids = len(row["prompt_ids"]), row["prompt_ids"] + row["completion_ids"]
        z_TV, q_TV = (net(torch.tensor([ids])).logits[0] for net in (model, proxy))
        for t, token in enumerate(row["completion_ids"]):
            p = (z_TV[P + t - 1] / 2).softmax(-1)
            kl = (p * (p / (q_TV[P + t - 1] / 2).softmax(-1)).log()).sum()
            total = total - z_TV[P + t - 1].softmax(-1)[token].log() - (0.5 * kl if t < row["guarded"] else 0.0)
    loss = total / sum(len(row["completion_ids"]) for row in rows)
    return loss.item(), torch.autograd.grad(loss, model.lm_head.weight)[0].norm().item()


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_first_step_is_that_of_the_formula(run, teacher, student, tmp_path, monkeypatch, micro_batch):
    rows: list[dict[str, Any]] = []
    inner = output_layer.training_rows
    monkeypatch.setattr(output_layer, "training_rows", lambda *a: rows.extend(inner(*a)) or list(rows))
    summary = run(tmp_path, resources={"micro_batch": micro_batch})
    loss, norm = exact_step(teacher, student, rows)
    (step,) = history(tmp_path)
    assert step["loss"] == pytest.approx(loss, rel=1e-5)
    assert step["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert 0 < summary["reasoning_tokens"] < 1
    assert {0} < {row["guarded"] for row in rows}  # with completions that state no answer


def test_the_body_stays_byte_for_byte_and_the_output_layer_is_its_own(run, teacher, tmp_path):
    summary = run(tmp_path, steps=3)
    before, after = weights(teacher), weights(tmp_path / "out" / "model")
    assert set(after) == {*before, HEAD}
    assert HEAD not in before  # tied
    assert all(torch.equal(after[name].view(torch.uint8), before[name].view(torch.uint8)) for name in before)
    assert not torch.equal(after[HEAD], before[EMBEDDING])
    assert summary["parameters"] == after[HEAD].numel()
    assert json.loads((tmp_path / "out" / "model" / "config.json").read_text())["tie_word_embeddings"] is False
    served = load_for_training(tmp_path / "out" / "model")
    assert torch.equal(served.lm_head.weight, after[HEAD])
    assert torch.equal(served.get_input_embeddings().weight, before[EMBEDDING])


def test_a_strong_guard_moves_away_from_the_proxy_and_keeps_its_own_completions(run, tmp_path):
    def last(strength: float) -> dict[str, Any]:
        run(tmp_path / str(strength), steps=12, strength=strength, learning_rate=1e-2)
        return history(tmp_path / str(strength))[-1]

    weak, strong = last(1e-6), last(5.0)
    first = history(tmp_path / "5.0")[0]
    assert strong["proxy_kl"] > first["proxy_kl"]
    assert strong["proxy_kl"] > weak["proxy_kl"]
    assert weak["nll"] < strong["nll"]


def test_a_killed_training_resumes_to_the_same_bytes(run, tmp_path):
    def kill(done: int, total: int, unit: str, note: str = "") -> None:
        if done == 3:
            raise KeyboardInterrupt

    every_two = {"checkpoint_every": 2}
    run(tmp_path / "whole", steps=5)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", steps=5, progress=kill, resources=every_two)
    steps: list[int] = []
    run(tmp_path / "killed", steps=5, progress=lambda done, *_: steps.append(done), resources=every_two)
    assert steps[:2] == [2, 3]
    for file in ("model/model.safetensors", "history.jsonl"):
        assert (tmp_path / "whole" / "out" / file).read_bytes() == (tmp_path / "killed" / "out" / file).read_bytes()


def test_an_untied_model_computes_what_the_tied_one_does(tmp_path):
    folder = save_gemma(tmp_path / "gemma")
    prompt = prompt_token_ids(gemma_tokenizer(), "1 + 2 = ?")
    tied, untied = load_for_training(folder).eval(), untie(load_for_training(folder)).eval()
    untied.save_pretrained(tmp_path / "untied")
    again = load_for_training(tmp_path / "untied").eval()
    ids_1T = torch.tensor([prompt])
    assert torch.equal(tied(ids_1T).logits, again(ids_1T).logits)
    assert again.lm_head.weight is not again.get_input_embeddings().weight


def test_a_proxy_with_other_tokens_is_refused(teacher, stranger, items, stored, tmp_path):
    with pytest.raises(InputError, match="different tokenizers"):
        train_output_layer(
            config(),
            teacher=teacher,
            proxy=stranger,
            items=items,
            completions=stored,
            seed=0,
            out=tmp_path / "out",
            work=tmp_path / "work",
            progress=silent,
        )
