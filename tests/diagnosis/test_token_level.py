"""Token-level measures against float64 logits, sequence by sequence, and invariance to batching and padding."""

import pytest
import torch
from tiny_models import save_qwen
from transformers import AutoModelForCausalLM

from repro.diagnosis import hidden
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.hidden import HiddenStates, batches, output_head
from repro.diagnosis.token_level import Pair
from repro.errors import InputError
from repro.models import padded_batches
from repro.traps import entropy, gradient_variance, token_kl, top_k_partial_sums

CONFIG = DiagnosisConfig(
    ks=(1, 3, 10_000),
    tail_k=3,
    contribution_blocks=2,
    fork_quantile=0.8,
    gradient_prompts=1,
    gradient_tokens=4,
    resamples=20,
)


def logits(model, rollout):
    """[tokens, V] float64 logits that score a completion: one sequence, no padding."""
    with torch.no_grad():
        all_TV = model(torch.tensor([[*rollout.prompt_ids, *rollout.token_ids]])).logits[0]
    start = len(rollout.prompt_ids)
    return all_TV[start - 1 : start + len(rollout.token_ids) - 1].double()


@pytest.fixture(scope="module")
def pair(student, teacher):
    return Pair(HiddenStates(student, "student"), HiddenStates(teacher, "teacher"), CONFIG, 1.0)


@pytest.fixture(scope="module")
def exact(student, teacher):
    return [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval() for folder in (student, teacher)]


def test_every_value_equals_the_float64_reference(pair, exact, rollouts):
    for rollout, measured in zip(rollouts, pair.measure(rollouts)):
        if not rollout.token_ids:
            assert (measured.rkl, measured.student_log_prob, list(measured.partial_rkl)) == (0, 0, [0, 0, 0])
            continue
        p, q = (logits(model, rollout) for model in exact)
        ids = torch.tensor(rollout.token_ids)[:, None]
        expected = {
            "rkl": token_kl(p, q).sum(),
            "fkl": token_kl(q, p).sum(),
            "student_log_prob": p.log_softmax(-1).gather(1, ids).sum(),
            "teacher_log_prob": q.log_softmax(-1).gather(1, ids).sum(),
            "entropy_student": entropy(p).sum(),
            "entropy_teacher": entropy(q).sum(),
        }
        for name, value in expected.items():
            assert getattr(measured, name) == pytest.approx(float(value), rel=1e-4, abs=1e-4), name
        partial = top_k_partial_sums(p, q, [1, 3, p.shape[-1]]).sum(1)
        assert measured.partial_rkl == pytest.approx(partial.tolist(), rel=1e-4, abs=1e-4)
        assert measured.partial_rkl[-1] == pytest.approx(measured.rkl, rel=1e-9)
        assert measured.rkl_T.tolist() == pytest.approx(token_kl(p, q).tolist(), rel=1e-3, abs=1e-4)
        assert measured.entropy_T.tolist() == pytest.approx(entropy(p).tolist(), rel=1e-3, abs=1e-4)


def test_temperature_divides_both_models_logits(student, teacher, exact, rollouts):
    warm = Pair(HiddenStates(student, "student"), HiddenStates(teacher, "teacher"), CONFIG, 2.0)
    (measured,) = warm.measure(rollouts[:1])
    p, q = (logits(model, rollouts[0]) / 2 for model in exact)
    assert measured.rkl == pytest.approx(float(token_kl(p, q).sum()), rel=1e-4)


def test_the_batch_does_not_matter(pair, rollouts, monkeypatch):
    together, contributions = pair.measure(rollouts), pair.contributions()
    pair.measure(rollouts, contributions)
    monkeypatch.setattr(padded_batches, "FORWARD_TOKENS", 1)
    assert [len(b) for b in batches(rollouts)] == [1] * len(rollouts)
    accumulator = pair.contributions()
    alone = pair.measure(rollouts, accumulator)
    for a, b in zip(together, alone):
        assert a.rkl == pytest.approx(b.rkl, rel=1e-4, abs=1e-5)
    batched, single = contributions.result(), accumulator.result()
    assert torch.equal(batched.counts, single.counts)
    assert torch.allclose(batched.mean[-1], single.mean[-1], atol=1e-5)
    # Eq 4 at K = |V| times its steps adds up to Eq 2
    assert float((batched.mean[-1] * batched.counts[-1]).sum()) == pytest.approx(sum(r.rkl for r in together), rel=1e-4)


def test_gradient_variance_is_that_of_the_cut_completions(pair, exact, rollouts):
    of_prompt = [r for r in rollouts if r.item_id == "sum/0"]
    variance = pair.gradient_variance(of_prompt, 4)
    cut = [r.token_ids[:4] for r in of_prompt]
    T = max(map(len, cut))
    ids, mask = torch.zeros(len(of_prompt), T, dtype=torch.long), torch.zeros(len(of_prompt), T, dtype=torch.bool)
    full = [torch.zeros(len(of_prompt), T, pair.vocab_size, dtype=torch.float64) for _ in exact]
    for row, tokens in enumerate(cut):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = torch.tensor(tokens), True
        for padded, model in zip(full, exact):
            padded[row, : len(tokens)] = logits(model, of_prompt[row])[: len(tokens)]
    expected = gradient_variance(*full, ids, mask)
    assert variance["sequence"] == pytest.approx(expected.sequence, rel=1e-3)
    assert variance["token_with_future"] == pytest.approx(expected.token_with_future, rel=1e-3)
    assert pair.gradient_variance(of_prompt[:1], 4) is None


def test_padded_output_layers_are_cut_to_the_shared_ids(student, tmp_path, rollouts):
    padded = save_qwen(tmp_path / "padded", layers=1, seed=2, vocabulary=320)
    pair = Pair(HiddenStates(student, "student"), HiddenStates(padded, "teacher"), CONFIG, 1.0)
    assert pair.vocab_size == pair.student.vocab_size == pair.ks[-1] < pair.teacher.vocab_size
    assert all(measured.rkl >= 0 for measured in pair.measure(rollouts))


@pytest.mark.parametrize("name", ["student", "stranger"])
def test_the_output_layer_is_read_with_its_softcap(name, request):
    model = HiddenStates(request.getfixturevalue(name), "student")
    assert model.head.softcap == (5.0 if name == "stranger" else None)


def test_an_unsupported_output_layer_is_refused(student, monkeypatch):
    def doubled(model):
        head = output_head(model)
        return type(head)(weight=head.weight * 2)

    monkeypatch.setattr(hidden, "output_head", doubled)
    with pytest.raises(InputError, match="output layer is not hidden states times weights"):
        HiddenStates(student, "student")


def test_nan_weights_are_named(tmp_path):
    folder = save_qwen(tmp_path / "broken", seed=3)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(InputError, match=r"teacher .*broken: its logits hold NaN"):
        HiddenStates(folder, "teacher")


def test_nan_that_comes_later_names_the_pair_and_the_item(pair, rollouts, monkeypatch):
    original = pair.teacher.of_completions

    def harmed(rollouts):
        hidden_NH = original(rollouts).clone()
        hidden_NH[0] = float("nan")
        return hidden_NH

    monkeypatch.setattr(pair.teacher, "of_completions", harmed)
    with pytest.raises(InputError, match=r"q = teacher .*item sum/0: q logits hold NaN"):
        pair.measure(rollouts)
