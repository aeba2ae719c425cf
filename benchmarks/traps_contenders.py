"""The streaming pass and what it could be replaced by, on the same inputs.

Inputs are hidden states and output layers. T positions, V ids, H hidden sizes.
- floor: the two output-layer products alone, into memory that is allocated already; the faster of one product over all
  positions and of products in the streaming pass's own chunks.
- floor, float32 (GPU): the same with float32 logits, as every exact pass needs them; the floors write bfloat16.
- streaming: both KL directions, partial sums, contributions, realised log-probabilities.
- divergences (GPU): streaming without Top-K, contributions and log-probabilities, as TRL's two calls give.
- naive: the same outputs from all logits at once.
- trl: two calls of ChunkedDivergenceFunction, one per direction; no Top-K, contributions or log-probabilities.
- liger: LigerFusedLinearJSDLoss, where it can be imported (it needs Triton): one direction a call, sums only.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from repro.traps import OutputHead, VocabularyContributions, stream_divergences
from repro.traps.fused import rows_per_chunk
from repro.traps.streaming import LOGIT_BYTES, default_logit_bytes


@dataclass(frozen=True)
class Shape:
    T: int
    V: int
    H: tuple[int, int]  # student, teacher
    rounds: int
    ks: tuple[int, ...] = (1, 10, 100)

    def __str__(self) -> str:
        return f"T{self.T}-V{self.V}-H{self.H[0]}+{self.H[1]}"


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
        self.ks = [*shape.ks, shape.V]
        self.logit_bytes = LOGIT_BYTES if device == "cpu" else default_logit_bytes(torch.device(device))

    def streaming(self) -> None:
        self._stream(self.hidden, self.ids)

    def _stream(self, hidden: list[torch.Tensor], ids: torch.Tensor) -> None:
        added = VocabularyContributions(self.shape.V, self.ks)
        stream_divergences(
            hidden[0], self.heads[0], hidden[1], self.heads[1], ids,
            ks=self.ks, contributions=added, logit_bytes=self.logit_bytes,
        )  # fmt: skip
        added.result()

    def divergences(self) -> None:
        stream_divergences(
            self.hidden[0], self.heads[0], self.hidden[1], self.heads[1], entropies=True, logit_bytes=self.logit_bytes
        )

    def floor(self, rows: int, dtype: torch.dtype | None = None) -> Callable[[], None]:
        out = torch.empty(rows, self.shape.V, dtype=dtype or self.dtype, device=self.device)
        options = {} if out.dtype == self.dtype else {"out_dtype": out.dtype}

        def products() -> None:
            for hidden, head in zip(self.hidden, self.heads):
                for start in range(0, self.shape.T, rows):
                    h = hidden[start : start + rows]
                    torch.mm(h, head.weight.T, out=out[: len(h)], **options)

        return products

    @torch.no_grad()
    def naive(self) -> None:
        logp, logq = ((h @ head.weight.T).float().log_softmax(-1) for h, head in zip(self.hidden, self.heads))
        gap = logp - logq
        terms = logp.exp() * gap
        kl_pq, kl_qp = terms.sum(-1), -(logq.exp() * gap).sum(-1)
        top = logp.topk(max(self.shape.ks)).indices
        ranked = terms.gather(1, top)
        partial = ranked.cumsum(1)[:, [k - 1 for k in self.shape.ks]]
        sums = torch.zeros(len(self.shape.ks), self.shape.V, device=self.device)
        counts = torch.zeros_like(sums)
        for j, k in enumerate(self.shape.ks):
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
        rivals = {"naive": self.naive, "trl": self.trl, "liger": self.liger}
        if self.device == "cpu":
            most = self.logit_bytes // (8 * self.shape.V)
            chunk = -(-self.shape.T // -(-self.shape.T // most))
            floors = {"floor, whole": self.floor(self.shape.T), "floor, chunks": self.floor(chunk)}
            return {**floors, "streaming": self.streaming, **rivals}
        chunk = rows_per_chunk(self.shape.T, self.shape.V, max(self.shape.ks), self.logit_bytes)
        floors = {
            "floor, whole": self.floor(min(self.shape.T, 8192)),
            "floor, chunks": self.floor(chunk),
            "floor, float32": self.floor(chunk, torch.float32),
        }
        del rivals["naive"]  # all logits of 74,000 positions do not fit
        return {**floors, "streaming": self.streaming, "divergences": self.divergences, **rivals}


def seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
