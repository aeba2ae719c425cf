"""Where the streaming pass spends its time on a GPU: products, each kernel at several launches, the pass, and a profile.

    python benchmarks/traps_kernels.py                       about 40 s on an H100
    TRITON_INTERPRET=1 python benchmarks/traps_kernels.py --tiny     the same code on a CPU, by Triton's interpreter

Times are medians, in microseconds a position; GB/s counts the bytes that a kernel must read and write.
Variants that `--seconds` leaves no time for are left out, and named.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from traps_contenders import Inputs, Shape, seconds

from repro.recipes.assumed import ASSUMED
from repro.traps import VocabularyContributions, fused, stream_divergences, streaming
from repro.traps.fused import FusedPass, Launch

SHAPE = Shape(28_288, 151_936, (1024, 2048), 5, ks=ASSUMED["diagnosis.ks"].value)
TINY = Shape(20, 2000, (16, 16), 1, ks=(1, 10, 100))
STATISTICS = [
    Launch(512, 4, 3), Launch(512, 4, 1), Launch(512, 4, 4), Launch(1024, 4, 3), Launch(1024, 8, 3), Launch(1024, 8, 2),
    Launch(1024, 8, 4), Launch(2048, 8, 3), Launch(2048, 16, 3), Launch(256, 2, 3),
]  # fmt: skip
CONTRIBUTIONS = [
    Launch(512, 4, 3), Launch(512, 4, 1), Launch(512, 4, 2), Launch(512, 4, 4), Launch(512, 8, 3), Launch(256, 2, 3),
    Launch(256, 4, 3), Launch(1024, 8, 3),
]  # fmt: skip


class Bench:
    """Times actions until its seconds are over."""

    def __init__(self, work: Inputs, rows: int, seconds_left: float) -> None:
        self.work, self.rows, self.end = work, rows, time.monotonic() + seconds_left

    def time(self, name: str, action: Callable[[], None], bytes_per_row: float = 0, rows: int | None = None) -> None:
        """Print the median of several runs after one that compiles."""
        if time.monotonic() > self.end:
            print(f"{name:58s} left out")
            return
        action()
        _wait()
        median = statistics.median(seconds(action) for _ in range(self.work.shape.rounds))
        us = 1e6 * median / (rows or self.rows)
        rate = f"{bytes_per_row / us / 1e3:8.0f} GB/s" if bytes_per_row else ""
        print(f"{name:58s} {us:8.3f} us {rate}", flush=True)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def time_floors(bench: Bench) -> None:
    """A copy, and both products with bfloat16 and float32 logits."""
    work = bench.work
    a = torch.empty(2**30 if work.device == "cuda" else 2**20, dtype=torch.uint8, device=work.device)
    b = torch.empty_like(a)
    bench.time("copy", lambda: b.copy_(a), 2 * len(a) / bench.rows)
    H = sum(work.shape.H)
    print(f"products: {2 * H * work.shape.V / 1e9:.3f} GFLOP a position")
    for rows in (bench.rows, 2 * bench.rows):
        for dtype in (torch.bfloat16, torch.float32) if work.device == "cuda" else (torch.float32,):
            bench.time(f"products, {rows} rows, {dtype} logits", work.floor(rows, dtype), rows=work.shape.T)


def time_kernels(bench: Bench) -> None:
    """Each kernel on one chunk of real logits, at several launches."""
    work, R = bench.work, bench.rows
    V, ks = work.shape.V, sorted(work.shape.ks)
    ranked, plain = (FusedPass(R, V, R, k, "p", bool(k), torch.device(work.device)) for k in (ks, []))
    for hidden, head, name in zip(work.hidden, work.heads, ("p_RW", "q_RW")):
        for chunk in (ranked, plain):
            head.project(hidden[:R], getattr(chunk, name)[:R, :V])
    C = ranked.plan.candidates
    for launch in STATISTICS:
        fused.STATISTICS = launch
        bench.time(f"statistics and candidates, {launch}", lambda: ranked.launch_statistics(0, R), 8 * V + 12 * 0.8 * C)
    for launch in STATISTICS[:5]:
        fused.STATISTICS = launch
        bench.time(f"statistics alone, {launch}", lambda: plain.launch_statistics(0, R), 8 * V)
    fused.STATISTICS = STATISTICS[0]
    ranked.launch_statistics(0, R)
    again = (ranked.counts_R < ranked.most) | (ranked.counts_R > C)
    counts = ranked.counts_R.double()
    print(
        f"candidates: room {C}, mean {counts.mean():.0f}, sd {counts.std():.0f}; {int(again.sum())} of {R} rows again"
    )
    bench.time("repairs, first", lambda: (ranked.launch_statistics(0, R), ranked.launch_repairs(0, R)))
    bench.time("repairs, none to do", lambda: ranked.launch_repairs(0, R))
    for entries in (512, 1024, 2048):
        fused.RANK_ENTRIES = entries
        bench.time(f"ranks, {entries} candidates to a warp", lambda: ranked.launch_ranks(0, R), 8 * C)
    fused.RANK_ENTRIES = 512
    for launch, shares in [*((launch, 4) for launch in CONTRIBUTIONS), *((CONTRIBUTIONS[0], s) for s in (2, 8, 16))]:
        fused.CONTRIBUTIONS = launch
        ranked.terms_SLV, ranked.steps_SJV = (
            torch.zeros(shares, *x.shape[1:], dtype=x.dtype, device=x.device)
            for x in (ranked.terms_SLV, ranked.steps_SJV)
        )
        bench.time(f"contributions, {launch}, {shares} shares", lambda: ranked.launch_contributions(0, R), 8 * V)
    fused.CONTRIBUTIONS = CONTRIBUTIONS[0]
    ids_R = work.ids[:R]
    bench.time("realised tokens", lambda: ranked.realised_2T[0].copy_(ranked.p_RW[:R].gather(1, ids_R[:, None])[:, 0]))


def time_passes(bench: Bench) -> None:
    """The pass with chunks of several sizes, without Top-K, and with torch's own operations instead of the kernels."""
    work, T = bench.work, bench.work.shape.T
    bench.time("pass", work.streaming, rows=T)
    bench.time("pass, divergences alone", work.divergences, rows=T)
    default = work.logit_bytes
    for gib in (1, 2, 8):
        work.logit_bytes = gib * 2**30
        bench.time(f"pass, chunks of {gib} GiB", work.streaming, rows=T)
    work.logit_bytes = default
    few = min(T, 1024)
    fuses, streaming.can_fuse = streaming.can_fuse, lambda *_: False
    tiles = replace_positions(work, few)
    tiles.logit_bytes = 512 * 2**20
    bench.time(f"pass, torch's operations, {few} positions", tiles.streaming, rows=few)
    streaming.can_fuse = fuses


def replace_positions(work: Inputs, T: int) -> Inputs:
    """Return inputs of the first T positions, on the same heads."""
    part = object.__new__(Inputs)
    vars(part).update(vars(work), shape=replace(work.shape, T=T), hidden=[h[:T] for h in work.hidden], ids=work.ids[:T])
    return part


def compare(work: Inputs, T: int) -> None:
    """Print how far the kernels and torch's operations are from each other."""
    part, results = replace_positions(work, T), []
    fuses = streaming.can_fuse
    for can_fuse in (fuses, lambda *_: False):
        streaming.can_fuse = can_fuse
        added = VocabularyContributions(work.shape.V, part.ks)
        (p, q), (p_head, q_head) = part.hidden, part.heads
        result = stream_divergences(
            p, p_head, q, q_head, part.ids, ks=part.ks, contributions=added, entropies=True, logit_bytes=2**29
        )
        sums = added.result()
        results.append({**vars(result), "Eq 4": sums.mean.nan_to_num(0), "Eq 4 counts": sums.counts.double()})
    streaming.can_fuse = fuses
    far = {name: float((x - results[1][name]).abs().max()) for name, x in results[0].items()}
    print("largest differences, nats: " + ", ".join(f"{name} {value:.1e}" for name, value in far.items()))


def profile(work: Inputs) -> None:
    """Print the kernels of one pass by their time."""
    device = torch.autograd.DeviceType.CUDA if work.device == "cuda" else torch.autograd.DeviceType.CPU
    key = "self_device_time_total" if work.device == "cuda" else "self_cpu_time_total"
    work.streaming()
    _wait()
    with torch.profiler.profile() as profiler:
        work.streaming()
        _wait()
    rows = [event for event in profiler.key_averages() if event.device_type == device]
    rows.sort(key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in rows) or 1
    print(f"profile of one pass: {total / 1e3:.1f} ms of kernels, {total / work.shape.T:.3f} us a position")
    for event in rows[:15]:
        spent = getattr(event, key)
        print(f"{spent / work.shape.T:8.3f} us {100 * spent / total:5.1f} % {event.count:6d} x {event.key[:100]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="time for all variants")
    parser.add_argument("--rows", type=int, default=3536, help="rows of a chunk")
    parser.add_argument("--tiny", action="store_true", help="small sizes on a CPU, by Triton's interpreter")
    options = parser.parse_args()
    started = time.monotonic()
    if options.tiny:
        streaming.can_fuse = lambda *_: True
        work, rows = Inputs(TINY), 16
    else:
        work, rows = Inputs(SHAPE, "cuda", torch.bfloat16), options.rows
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {SHAPE}, K {SHAPE.ks}")
    bench = Bench(work, rows, options.seconds)
    compare(work, min(256, work.shape.T))
    for part in (time_floors, time_passes):
        part(bench)
    profile(work)
    time_kernels(bench)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    with torch.no_grad():
        main()
