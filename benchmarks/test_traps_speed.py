"""Speed and memory of the streaming pass, side by side with what it could be replaced by, in one run.

    OMP_NUM_THREADS=2 pytest benchmarks/test_traps_speed.py -q -m "not gpu"
    pytest benchmarks/test_traps_speed.py -q -m gpu

Contenders (inputs are hidden states and output layers; T positions, V ids, H hidden sizes):
- floor: the two output-layer products alone, into memory that is allocated already; the faster of one product over all
  positions and of products in the streaming pass's own chunks.
- streaming: both KL directions, partial sums, contributions, realised log-probabilities.
- naive: the same outputs from all logits at once.
- trl: two calls of ChunkedDivergenceFunction, one per direction; no Top-K, contributions or log-probabilities.
- liger: LigerFusedLinearJSDLoss, where it can be imported (it needs Triton): one direction a call, sums only.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from repro.traps import OutputHead, VocabularyContributions, stream_divergences
from repro.traps.streaming import LOGIT_BYTES

KS = [1, 10, 100]
MIB = 2**20


@dataclass(frozen=True)
class Shape:
    T: int
    V: int
    H: tuple[int, int]  # student, teacher
    rounds: int

    def __str__(self) -> str:
        return f"T{self.T}-V{self.V}-H{self.H[0]}+{self.H[1]}"


TOY = Shape(256, 1000, (64, 64), 20)
MIDDLE = Shape(2048, 49_152, (576, 576), 5)
LARGE = Shape(512, 151_936, (1024, 2048), 5)
GPU = Shape(74_000, 151_936, (1024, 2048), 3)
CPU_SHAPES = [TOY, MIDDLE, LARGE]

# The bars that were set for this pass
TIMES_FLOOR, EXTRA_MIB, TIMES_TRL = 1.6, 400, 3.0
GPU_TIMES_FLOOR, GPU_EXTRA_MIB = 1.4, 2048


class Inputs:
    """Random hidden states with logits of a trained model's size, and every contender on them."""

    def __init__(self, shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        generator = torch.Generator(device).manual_seed(0)
        self.shape, self.device, self.dtype = shape, device, dtype
        make = {"generator": generator, "device": device, "dtype": dtype}
        self.hidden = [torch.randn(shape.T, H, **make) for H in shape.H]
        # Logits with a standard deviation of 3: entropies of a few nats
        self.heads = [OutputHead(torch.randn(shape.V, H, **make).mul_(3 / H**0.5)) for H in shape.H]
        self.ids = torch.randint(shape.V, (shape.T,), generator=generator, device=device)
        self.ks = [*KS, shape.V]
        self.logit_bytes = LOGIT_BYTES if device == "cpu" else 512 * MIB

    def streaming(self) -> None:
        self._stream(self.hidden, self.ids)

    def _stream(self, hidden: list[torch.Tensor], ids: torch.Tensor) -> None:
        added = VocabularyContributions(self.shape.V, self.ks)
        stream_divergences(
            hidden[0], self.heads[0], hidden[1], self.heads[1], ids,
            ks=self.ks, contributions=added, logit_bytes=self.logit_bytes,
        )  # fmt: skip
        added.result()

    def floor(self, rows: int) -> Callable[[], None]:
        out = torch.empty(rows, self.shape.V, dtype=self.dtype, device=self.device)

        def products() -> None:
            for hidden, head in zip(self.hidden, self.heads):
                for start in range(0, self.shape.T, rows):
                    h = hidden[start : start + rows]
                    torch.mm(h, head.weight.T, out=out[: len(h)])

        return products

    @torch.no_grad()
    def naive(self) -> None:
        logp, logq = ((h @ head.weight.T).float().log_softmax(-1) for h, head in zip(self.hidden, self.heads))
        gap = logp - logq
        terms = logp.exp() * gap
        kl_pq, kl_qp = terms.sum(-1), -(logq.exp() * gap).sum(-1)
        top = logp.topk(max(KS)).indices
        ranked = terms.gather(1, top)
        partial = ranked.cumsum(1)[:, [k - 1 for k in KS]]
        sums = torch.zeros(len(KS), self.shape.V, device=self.device)
        counts = torch.zeros_like(sums)
        for j, k in enumerate(KS):
            flat = top[:, :k].flatten()
            sums[j].index_add_(0, flat, ranked[:, :k].flatten())
            counts[j].index_add_(0, flat, torch.ones(len(flat), device=self.device))
        full = terms.sum(0)
        realised = [x.gather(1, self.ids[:, None]) for x in (logp, logq)]
        assert len(kl_pq) == len(kl_qp) == len(partial) == len(realised[0])
        assert len(full) == self.shape.V

    @torch.no_grad()
    def trl(self) -> None:
        function = pytest.importorskip("trl.kernels.chunked_divergence").ChunkedDivergenceFunction
        (p_hidden, q_hidden), (p_head, q_head) = self.hidden, self.heads
        for beta in (0.0, 1.0):  # KL(q||p), KL(p||q): the student is p
            function.apply(p_hidden, p_head.weight, None, q_hidden, q_head.weight, None, beta)

    @torch.no_grad()
    def liger(self) -> None:
        loss = pytest.importorskip("liger_kernel.chunked_loss", reason="Liger needs Triton: not importable here")
        for beta in (0.0, 1.0):
            jsd = loss.LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=beta)
            jsd(self.hidden[0], self.heads[0].weight, self.hidden[1], self.heads[1].weight, self.ids)

    def contenders(self) -> dict[str, Callable[[], None]]:
        most = self.logit_bytes // (8 * self.shape.V)
        chunk = -(-self.shape.T // -(-self.shape.T // most))
        rows = self.shape.T if self.device == "cpu" else min(self.shape.T, 4096)
        return {
            "floor, whole": self.floor(rows),
            "floor, chunks": self.floor(chunk),
            "streaming": self.streaming,
            "naive": self.naive,
            "trl": self.trl,
            "liger": self.liger,
        }


def peak_mib(action: Callable[[], None]) -> float | None:
    """Return the peak resident memory above what was resident before, by the kernel's high-water mark; None off Linux."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    before = _status("VmRSS")
    action()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


@pytest.fixture(scope="module")
def inputs():
    """Return shape -> its inputs, one shape in memory at a time."""
    cached: dict[Shape, Inputs] = {}

    def get(shape: Shape) -> Inputs:
        if shape not in cached:
            cached.clear()
            cached[shape] = Inputs(shape)
        return cached[shape]

    return get


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["floor, whole", "floor, chunks", "streaming", "naive", "trl", "liger"])
@pytest.mark.parametrize("shape", CPU_SHAPES, ids=str)
def test_side_by_side(shape: Shape, name: str, inputs, benchmark) -> None:
    """Measure one table per shape; pytest-benchmark prints each time as a multiple of the fastest."""
    benchmark.group = str(shape)
    action = inputs(shape).contenders()[name]
    benchmark.extra_info["peak_mib"] = peak_mib(action)  # also the warm-up
    benchmark.pedantic(action, rounds=shape.rounds if name != "trl" else min(3, shape.rounds))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("shape", [MIDDLE, LARGE], ids=str)
def test_cpu_bars(shape: Shape, capsys: pytest.CaptureFixture[str]) -> None:
    """Contenders take turns, so that a busy moment hits all; the best of five rounds counts."""
    work = Inputs(shape)
    actions = work.contenders()
    del actions["liger"]
    peaks = {name: peak_mib(action) for name, action in actions.items()}
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(shape.rounds):
        for name, action in actions.items():
            if turn < 2 or name not in ("naive", "trl"):
                times[name].append(seconds(action))
    best = {name: min(values) for name, values in times.items()}
    floor = min(best["floor, whole"], best["floor, chunks"])
    rows = [
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, float32, {shape}, best of n"
    ]
    rows += ["| contender | s | x floor | peak extra MiB |", "|---|---|---|---|"]
    for name, value in best.items():
        peak = "-" if peaks[name] is None else f"{peaks[name]:.0f}"
        rows.append(f"| {name} | {value:.3f} | {value / floor:.2f} | {peak} |")
    with capsys.disabled():
        print("\n" + "\n".join(rows))
    assert best["streaming"] <= TIMES_FLOOR * floor
    assert best["trl"] >= TIMES_TRL * best["streaming"]


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["floor, whole", "floor, chunks", "streaming", "trl", "liger"])
def test_side_by_side_on_a_gpu(name: str, benchmark) -> None:
    """As test_side_by_side; `ratios.py` compares it with the committed baseline."""
    action = Inputs(GPU, "cuda", torch.bfloat16).contenders()[name]
    action()
    benchmark.group = f"{torch.cuda.get_device_name()}, {GPU}"
    benchmark.pedantic(lambda: seconds(action), rounds=GPU.rounds)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_extra_memory_is_flat_in_the_number_of_positions(capsys: pytest.CaptureFixture[str]) -> None:
    work = Inputs(Shape(1024, LARGE.V, LARGE.H, 1))
    peaks: dict[int, float | None] = {}
    for T in (16, 256, 512, 1024):
        part = [hidden[:T] for hidden in work.hidden]
        peaks[T] = peak_mib(lambda part=part, T=T: work._stream(part, work.ids[:T]))
    with capsys.disabled():
        print(f"\npeak extra MiB by T: {peaks}")
    if None in peaks.values():
        pytest.skip("no /proc/self/clear_refs: peak memory cannot be read")
    assert peaks[1024] <= EXTRA_MIB
    assert peaks[1024] <= peaks[256] + 20  # outputs and noise


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_bars(capsys: pytest.CaptureFixture[str]) -> None:
    work = Inputs(GPU, "cuda", torch.bfloat16)
    actions = work.contenders()
    del actions["naive"]  # all logits of 74,000 positions do not fit
    best: dict[str, float] = {}
    peaks: dict[str, float] = {}
    for name, action in actions.items():
        try:
            action()
        except pytest.skip.Exception:
            continue
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        best[name] = min(seconds(action) for _ in range(GPU.rounds))
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / MIB
    with capsys.disabled():
        print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}, bf16, {GPU}: {best} s; {peaks} MiB")
    floor = min(best["floor, whole"], best["floor, chunks"])
    assert peaks["streaming"] <= GPU_EXTRA_MIB
    assert best["streaming"] <= GPU_TIMES_FLOOR * floor
    for rival in ("trl", "liger"):
        assert best["streaming"] < best.get(rival, float("inf"))
