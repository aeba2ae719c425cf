"""The kernels of the streaming pass equal the logits form in float64: on a GPU, or on a CPU by Triton's interpreter."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from streaming_reference import check, make_head, reference_logits

from repro.recipes.assumed import ASSUMED
from repro.traps import OutputHead, VocabularyContributions, entropy, fused, stream_divergences, streaming, token_kl

pytest.importorskip("triton")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy warns where the device just has infinity
LAUNCHES = {name: getattr(fused, name) for name in ("STATISTICS", "CONTRIBUTIONS", "SAMPLE")}
SMALL = fused.Launch(128, 4, 3)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)], autouse=True)
def device(request, monkeypatch):
    """Run the kernels on small blocks, so that a vocabulary of some hundred ids has several."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if request.param == "cpu":
        if os.environ.get("TRITON_INTERPRET") != "1":
            pytest.skip("Triton compiles here: the tests on the device are the same")
        monkeypatch.setattr(streaming, "can_fuse", lambda *_: True)
    monkeypatch.setattr(fused, "STATISTICS", SMALL)
    monkeypatch.setattr(fused, "CONTRIBUTIONS", SMALL)
    monkeypatch.setattr(fused, "SAMPLE", 256)
    with torch.device(request.param):
        yield request.param


def heads_of(p_logits_TV, q_logits_TV):
    """Return hidden states and heads that give these logits exactly: a hidden unit per position."""
    unit = torch.eye(len(p_logits_TV))
    return unit, OutputHead(p_logits_TV.T.contiguous()), unit, OutputHead(q_logits_TV.T.contiguous())


def check_logits(p_logits_TV, q_logits_TV, ks, **options):
    ids = torch.arange(len(p_logits_TV)) % p_logits_TV.shape[1]
    return check(*heads_of(p_logits_TV, q_logits_TV), ids, ks, 2e-5, **options)


@pytest.mark.parametrize("options", [{}, {"bias": True, "scale": 1.7, "softcap": 30.0}], ids=["plain", "all"])
@pytest.mark.parametrize("ranked_by", ["p", "q"])
def test_equals_the_logits_form(options, ranked_by):
    torch.manual_seed(0)
    V, T = 300, 5
    p_head, q_head = make_head(V, 8, torch.float32, **options), make_head(V, 12, torch.float32, scale=0.5)
    p_hidden, q_hidden, ids = torch.randn(T, 8), torch.randn(T, 12), torch.randint(V, (T,))
    check(p_hidden, p_head, q_hidden, q_head, ids, [50, 1, V, 3], 2e-5, temperature=0.6, ranked_by=ranked_by)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_multiplied_in_float32(dtype):
    torch.manual_seed(0)
    V, T, H = 1500, 3, 64
    p_head, q_head = make_head(V, H, dtype, bias=True, scale=0.2), make_head(V, H, dtype, scale=0.2)
    p_hidden, q_hidden = torch.randn(T, H).to(dtype), torch.randn(T, H).to(dtype)
    check(p_hidden, p_head, q_hidden, q_head, torch.randint(V, (T,)), [1, 10, 700, V], 2e-5)


def test_padded_ids_are_masked():
    torch.manual_seed(0)
    p_head, q_head = make_head(140, 8, torch.float32), make_head(133, 8, torch.float32)
    p_head.weight[130:] = math.nan  # never looked at
    ids = torch.tensor([0, 5, 129, 64])
    check(torch.randn(4, 8), p_head, torch.randn(4, 8), q_head, ids, [2, 130], 2e-5, V=130)


@pytest.mark.parametrize("T", [0, 1])
@pytest.mark.parametrize("V", [1, 2, 64, 129])
def test_small_shapes(T, V):
    torch.manual_seed(0)
    p_head, q_head = make_head(V, 3, torch.float32), make_head(V, 3, torch.float32)
    p_hidden, q_hidden = torch.randn(T, 3), torch.randn(T, 3)
    if T:
        check(p_hidden, p_head, q_hidden, q_head, torch.randint(V, (T,)), [1, V], 2e-5)
    else:
        ids = torch.empty(0, dtype=torch.long)
        added = VocabularyContributions(V, [V])
        result = stream_divergences(p_hidden, p_head, q_hidden, q_head, ids, ks=[1], contributions=added)
        assert result.partial_sums.shape == (1, 0)


def test_without_ranks():
    torch.manual_seed(0)
    p_head, q_head, ids = make_head(200, 4, torch.float32), make_head(200, 4, torch.float32), torch.tensor([3, 199])
    p_hidden, q_hidden = torch.randn(2, 4), torch.randn(2, 4)
    check(p_hidden, p_head, q_hidden, q_head, ids, [200], 2e-5)
    result = stream_divergences(p_hidden, p_head, q_hidden, q_head)
    p, q = reference_logits(p_hidden, p_head), reference_logits(q_hidden, q_head)
    torch.testing.assert_close(result.kl_pq, token_kl(p, q), rtol=2e-5, atol=2e-5)
    assert result.entropy_p is result.partial_sums is result.log_p is None


def test_equal_models_have_no_divergence():
    head, hidden = make_head(400, 8, torch.float32), torch.randn(9, 8)
    result = stream_divergences(hidden, head, hidden, head, ks=[1, 100, 400])
    assert not result.kl_pq.any()
    assert not result.kl_qp.any()
    assert not result.partial_sums.any()


def test_equal_logits_rank_by_id():
    """With one value all over, no bound separates the Top-K; with few values, K-th ranks lie among equal ones."""
    torch.manual_seed(0)
    ks = [1, 4, 100, 299, 600]
    random = torch.randn(4, 600)
    odd = torch.stack(
        [
            torch.zeros(600),
            torch.full((600,), -3.0),
            torch.randint(-3, 3, (600,)),
            torch.tensor([0.0, -0.0]).repeat(300),
        ]
    )
    check_logits(odd, random, ks)
    check_logits(random, odd, ks, ranked_by="q")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ranked_by", ["p", "q"])
def test_full_size(dtype, ranked_by, device, monkeypatch):
    """The launches and the values of K that studies use; logits rounded to bfloat16 are full of ties."""
    for name, value in LAUNCHES.items():
        monkeypatch.setattr(fused, name, value)
    positions = 50
    if device == "cpu":  # each step of the interpreter takes as long as any other: few and large ones
        if (dtype, ranked_by) != (torch.bfloat16, "p"):
            pytest.skip("on the device alone")
        positions = 1
        monkeypatch.setattr(fused, "STATISTICS", fused.Launch(8192, 4, 3))
        monkeypatch.setattr(fused, "CONTRIBUTIONS", fused.Launch(8192, 4, 3))
    torch.manual_seed(0)
    V = 151_936
    p, q = (3 * torch.randn(positions, V).to(dtype).float() for _ in range(2))
    ks = [*ASSUMED["diagnosis.ks"].value, V]
    check_logits(p, q, ks, ranked_by=ranked_by, logit_bytes=20 * 8 * V)


@pytest.mark.parametrize("ranked_by", ["p", "q"])
def test_too_many_equal_logits_for_the_candidates(ranked_by):
    """No bound separates the Top-K: of the equal entries the first count, and there is room for no more."""
    torch.manual_seed(0)
    V, K = 2100, 40
    assert fused.plan_sample(K, V).candidates < V // 8
    odd = torch.zeros(3, V)
    odd[1, 5::300] = 1.0
    odd[2] = torch.randint(-3, 3, (V,))
    even = torch.randn(3, V)
    check_logits(*((odd, even) if ranked_by == "p" else (even, odd)), [1, 3, K, V], ranked_by=ranked_by)


@pytest.mark.parametrize("sampled", [-4.0, 4.0])
@pytest.mark.parametrize("ranked_by", ["p", "q"])
def test_a_sample_that_misleads(sampled, ranked_by):
    """The sample is unlike the rest of the row: far too many candidates, or far too few."""
    torch.manual_seed(0)
    V, K = 2100, 40
    spacing = V // (fused.SAMPLE // fused.RUN)
    assert spacing > fused.RUN
    is_sampled = torch.arange(V) % spacing < fused.RUN
    odd = torch.randn(2, V) + torch.where(is_sampled, sampled, 0.0)
    if sampled > 0:  # a tenth of the sample is high, and nothing else: fewer than K reach the bound
        high = is_sampled & (torch.arange(V) < 20 * spacing)
        odd = torch.randn(2, V) + torch.where(high, sampled, -sampled)
    even = torch.randn(2, V)
    check_logits(*((odd, even) if ranked_by == "p" else (even, odd)), [1, K, V], ranked_by=ranked_by)


def test_a_maximum_that_the_sample_misses():
    """Sums relative to the sample's maximum would overflow: the row is summed again."""
    torch.manual_seed(0)
    V = 2100
    p, q = torch.randn(4, V), torch.randn(4, V)
    p[1, 11] = 95.0
    q[2, 15] = 1e4
    p[3, 12], q[3, 13] = 300.0, 200.0
    result = check_logits(p[[0, 1, 3]], q[[0, 1, 3]], [1, 20, V])
    assert result.kl_pq[2] > 100
    result = stream_divergences(*heads_of(p, q), entropies=True)
    torch.testing.assert_close(result.kl_pq, token_kl(p, q), rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(result.kl_qp, token_kl(q, p), rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(result.entropy_q, entropy(q), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_logits(size):
    torch.manual_seed(0)
    p, q = size * (2 * torch.rand(6, 150) - 1), size * (2 * torch.rand(6, 150) - 1)
    p[0] += size  # an offset changes no distribution
    check_logits(p, q, [1, 7, 150])


@pytest.mark.parametrize(("where", "value"), [("p", math.nan), ("p", -math.inf), ("q", math.inf)])
def test_unusable_logits_are_named_and_nothing_is_added(where, value):
    heads = {name: make_head(200, 4, torch.float32) for name in "pq"}
    hidden = {name: torch.randn(18, 4) for name in "pq"}
    hidden[where][17, 2] = value
    added, ids = VocabularyContributions(200, [1, 150, 200]), torch.zeros(18, dtype=torch.long)
    with pytest.raises(ValueError, match=rf"{where}.* logits hold .* at position 17"):
        stream_divergences(hidden["p"], heads["p"], hidden["q"], heads["q"], ids, contributions=added, logit_bytes=1)
    with pytest.raises(ValueError, match="no step"):
        added.result()


def test_chunks_do_not_matter_and_runs_repeat():
    torch.manual_seed(0)
    V, T = 400, 19
    p_head, q_head = make_head(V, 16, torch.float32, scale=0.5), make_head(V, 24, torch.float32, scale=0.5)
    p_hidden, q_hidden, ids = torch.randn(T, 16), torch.randn(T, 24), torch.randint(V, (T,))

    def run(**options):
        added = VocabularyContributions(V, [1, 20, V])
        result = stream_divergences(
            p_hidden, p_head, q_hidden, q_head, ids, ks=[1, 20], contributions=added, entropies=True, **options
        )
        return [*vars(result).values(), *(x for x in vars(added.result()).values() if isinstance(x, torch.Tensor))]

    first = run()
    for x, again, part in zip(first, run(), run(logit_bytes=1)):
        assert x.nan_to_num(0).equal(again.nan_to_num(0))
        torch.testing.assert_close(part, x, rtol=0, atol=2e-5, equal_nan=True)


def test_a_plan_has_room_for_what_the_bound_lets_through():
    plan = fused.plan_sample(10_000, 151_936)
    sampled = fused.SAMPLE / 151_936
    assert plan.rank > 10_000 * sampled
    assert plan.candidates * sampled > plan.rank * 1.06
    assert plan.candidates & (plan.candidates - 1) == 0


def test_where_the_kernels_run(device, monkeypatch):
    monkeypatch.undo()
    cuda = torch.device("cuda")
    assert fused.can_fuse(cuda, torch.float32, 10_000, 151_936)
    assert fused.can_fuse(cuda, torch.float32, 0, 151_936)
    assert not fused.can_fuse(cuda, torch.float64, 10, 1000)
    assert not fused.can_fuse(cuda, torch.float32, 100_000, 151_936)
    assert not fused.can_fuse(torch.device("cpu"), torch.float32, 10, 1000)


def test_the_kernels_compile_without_a_gpu(device, tmp_path):
    """The interpreter is Python: it takes what the compiler refuses."""
    if device == "cuda":
        pytest.skip("they were compiled here")
    script = Path(__file__).with_name("compile_kernels.py")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    kernels = ("contribution", "rank", "reference", "repair", "statistics", "tie")
    assert done.stdout.split() == [f"{name}_kernel" for name in kernels], done.stderr[-2000:]
