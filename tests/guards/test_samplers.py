"""The laws that sampler guards sample from, against enumeration over the vocabulary."""

import functools

import pytest
import torch
from tiny_models import save_qwen

from repro.distillation.loss_gradient import lean_gradient, mean_loss_gradient, shifted
from repro.errors import InputError
from repro.guards.base import GUARDS
from repro.guards.engine import GuardedEngine
from repro.guards.samplers import Antidistillation, ProductOfExperts
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_model, load_tokenizer
from repro.models.padded_batches import BACKWARD_TOKENS

HOLDOUT = [([5, 6, 7], [8, 9, 10, 2]), ([5, 6], [11, 2]), ([9], [12, 13, 14])]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save_qwen(tmp_path_factory.mktemp("teacher"), seed=0)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    return save_qwen(tmp_path_factory.mktemp("proxy"), seed=1)


@pytest.fixture(scope="module")
def prompts(teacher):
    tokenizer = load_tokenizer(teacher)
    return [prompt_token_ids(tokenizer, text) for text in ("1 + 2 = ?", "a much longer question: 3 + 4 = ?")]


read_model = functools.cache(load_model)


def logits(model, ids: list[int]) -> torch.Tensor:
    """[V] float64 logits after these tokens, by a plain forward of one sequence."""
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1].double()


def exact_law(guard, teacher, proxy, ids: list[int], temperature: float = 1.0) -> torch.Tensor:
    """[V] log-probabilities of the guard's law, from its formula and autograd's own derivative."""
    z_teacher = logits(read_model(teacher), ids) / temperature
    if isinstance(guard, ProductOfExperts):
        p_teacher, p_proxy = z_teacher.softmax(-1), logits(read_model(proxy), ids).softmax(-1)
        mixed = p_teacher ** (1 - guard.strength) * p_proxy**guard.strength
        return (mixed / mixed.sum()).log()
    return torch.log_softmax(z_teacher + guard.strength * derivative(proxy, ids), -1)


@functools.cache
def gradient_of_holdout(proxy):
    """The proxy in float64, and the gradient of its mean loss of `HOLDOUT`."""
    model = load_model(proxy).double()
    parameters = dict(model.named_parameters())
    losses, tokens = 0.0, 0
    for prompt, completion in HOLDOUT:
        log_p = model(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
        for position, token in enumerate(completion, len(prompt)):
            losses, tokens = losses - log_p[position - 1, token], tokens + 1
    return model, dict(zip(parameters, torch.autograd.grad(losses / tokens, list(parameters.values()))))


def derivative(proxy, ids: list[int]) -> torch.Tensor:
    """[V] derivative of the proxy's logits along the gradient of the mean loss of `HOLDOUT`, float64."""
    model, gradient = gradient_of_holdout(proxy)

    def of_weights(weights):
        return torch.func.functional_call(model, weights, (torch.tensor([ids]),)).logits[0, -1]

    detached = {name: value.detach() for name, value in model.named_parameters()}
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.func.jvp(of_weights, (detached,), (gradient,))[1]


GUARDS_TRIED = [ProductOfExperts(strength=0.4), Antidistillation(strength=0.02, epsilon=1e-3)]


@pytest.mark.parametrize("guard", GUARDS_TRIED, ids=lambda guard: guard.name)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_every_recorded_log_prob_is_that_of_the_law(guard, teacher, proxy, prompts, temperature):
    engine = GuardedEngine(guard, teacher, proxy, HOLDOUT)
    groups = engine.generate(prompts, 2, 5, temperature, seed=3)
    for prompt, group in zip(prompts, groups):
        for completion in group:
            for position, (token, nats) in enumerate(zip(completion.token_ids, completion.log_probs)):
                law = exact_law(guard, teacher, proxy, prompt + completion.token_ids[:position], temperature)
                assert nats == pytest.approx(float(law[token]), abs=2e-3)


@pytest.mark.parametrize("guard", GUARDS_TRIED, ids=lambda guard: guard.name)
def test_tokens_come_as_often_as_the_law_says(guard, teacher, proxy, prompts):
    n = 4_000
    engine = GuardedEngine(guard, teacher, proxy, HOLDOUT)
    (group,) = engine.generate(prompts[:1], n, 1, 1.0, seed=0)
    p = exact_law(guard, teacher, proxy, prompts[0]).exp()
    counts = torch.bincount(torch.tensor([c.token_ids[0] for c in group]), minlength=len(p)).double()
    assert ((counts / n - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1 / n).all()
    plain = logits(read_model(teacher), prompts[0]).softmax(-1)
    assert (
        (counts / n - plain).abs() > 5 * (plain * (1 - plain) / n).sqrt() + 1 / n
    ).any()  # the teacher's own law fails


@pytest.mark.parametrize("guard", [ProductOfExperts(strength=0), Antidistillation(strength=0)], ids=lambda g: g.name)
def test_no_strength_is_the_teacher(guard, teacher, proxy, prompts):
    (group,) = GuardedEngine(guard, teacher, proxy, HOLDOUT).generate(prompts[1:], 3, 4, 1.0, seed=1)
    model = read_model(teacher)
    for completion in group:
        for position, (token, nats) in enumerate(zip(completion.token_ids, completion.log_probs)):
            law = torch.log_softmax(logits(model, prompts[1] + completion.token_ids[:position]), -1)
            assert nats == pytest.approx(float(law[token]), abs=1e-4)


def test_the_preferred_tokens_are_those_whose_learning_raises_the_loss(proxy, prompts):
    """To first order a step on token v changes the loss by <grad log p(v), g>: that is the difference of its derivative to the mean's."""
    model, along = load_model(proxy), derivative(proxy, prompts[0])
    g = mean_loss_gradient(load_model(proxy), HOLDOUT)
    log_p = model(torch.tensor([prompts[0]])).logits[0, -1].log_softmax(-1)
    expected = along - (log_p.detach().double().exp() * along).sum()
    for token in (2, 8, 40):
        grads = torch.autograd.grad(log_p[token], list(model.parameters()), retain_graph=True, allow_unused=True)
        product = sum(
            float((grad * g[name]).sum())
            for (name, _), grad in zip(model.named_parameters(), grads)
            if grad is not None
        )
        assert product == pytest.approx(float(expected[token]), rel=2e-2, abs=1e-3)


def test_a_shift_changes_a_copy(proxy):
    model = load_model(proxy)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = mean_loss_gradient(model, HOLDOUT)
    moved = shifted(model, gradients, 0.5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(moved.state_dict()[name], before[name] + 0.5 * gradients[name])


def test_on_a_gpu_the_gradient_is_taken_in_short_passes_without_all_logits(proxy, monkeypatch):
    """The same gradient but for rounding, and proxies that decode with weights of their own."""
    guard, long = Antidistillation(epsilon=0.5), [([5, 6, 7], [8, 9, 10, 2] * 100)] * 4
    on_cpu, passes = guard.proxies(load_model(proxy), long), []
    plain = mean_loss_gradient(load_model(proxy), long)
    for model, sign in zip(on_cpu, (1, -1)):
        moved = shifted(load_model(proxy), plain, sign * guard.epsilon)
        assert all(map(torch.equal, model.state_dict().values(), moved.state_dict().values()))
    monkeypatch.setattr("repro.guards.samplers._is_on_gpu", lambda model: True)
    read = load_model(proxy)
    read.lm_head.register_forward_hook(lambda *_: pytest.fail("all logits were computed"))
    read.model.register_forward_pre_hook(
        lambda _, __, named: passes.append(named["input_ids"].numel()), with_kwargs=True
    )
    gradient = lean_gradient(read, long)
    assert len(passes) == 2
    assert max(passes) <= BACKWARD_TOKENS
    for name, value in plain.items():
        assert torch.allclose(gradient[name], value, rtol=1e-3, atol=1e-6)
    for model, other in zip(guard.proxies(load_model(proxy), long), on_cpu):
        assert logits(model, [5, 6]).tolist() == pytest.approx(logits(other, [5, 6]).tolist(), abs=1e-4)


def test_a_large_proxy_recomputes_its_activations_and_then_decodes(proxy, monkeypatch):
    monkeypatch.setattr("repro.distillation.loss_gradient.LARGE", 1)
    model = load_model(proxy)
    gradient, plain = lean_gradient(model, HOLDOUT), mean_loss_gradient(load_model(proxy), HOLDOUT)
    assert model.is_gradient_checkpointing
    assert not model.training
    assert all(torch.allclose(gradient[name], value, rtol=1e-3, atol=1e-6) for name, value in plain.items())
    del model.forward
    assert model(torch.tensor([[5, 6]]), use_cache=True).past_key_values is not None


def test_equal_seeds_give_equal_completions(teacher, proxy, prompts):
    guard = ProductOfExperts()
    first, again, other = (GuardedEngine(guard, teacher, proxy).generate(prompts, 2, 6, 1.0, s) for s in (0, 0, 1))
    assert first == again != other


def test_a_strength_out_of_range_is_one_line():
    with pytest.raises(InputError, match=r"guard 'poe': strength = '2'.*less than or equal to 1"):
        GUARDS.parse("poe(strength=2)")
