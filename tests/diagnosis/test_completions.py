"""Completions walked through where they lie: the same order, thresholds and numbers, and memory flat in how many there are."""

import random
import re
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from repro.diagnosis import hidden
from repro.diagnosis.completions import Completions
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.diagnose import _gradients, _token_rows
from repro.diagnosis.forks import ForkingTokens
from repro.diagnosis.hidden import HiddenStates
from repro.diagnosis.token_level import Pair
from repro.generation import rollouts as module
from repro.generation.rollouts import Rollout, write_rollouts
from repro.progress import silent
from repro.traps import forking_share

CONFIG = DiagnosisConfig(
    ks=(1, 3), contribution_blocks=4, fork_quantile=0.8, gradient_prompts=2, gradient_tokens=4, resamples=20
)


def completions_of(path, prompts, tokens, order=lambda rows: rows):
    """Of one task, four a prompt."""
    rng = random.Random(0)
    rows = [
        Rollout(
            f"p{n // 4}", "toy-bm4", "?", n % 4, [1, 2], [rng.randrange(3, 12) for _ in range(tokens)], [], "7", "eos"
        )
        for n in range(4 * prompts)
    ]
    rows = [Rollout(**vars(one) | {"log_probs": [-rng.random() for _ in one.token_ids]}) for one in rows]
    write_rollouts(path, order(rows))
    return Completions.of(path)


def test_a_walk_goes_prompt_by_prompt_whatever_the_order_of_the_file(tmp_path):
    ordered = completions_of(tmp_path / "a.parquet", 5, 3)
    mixed = completions_of(tmp_path / "b.parquet", 5, 3, lambda rows: sorted(rows, key=lambda one: one.sample))
    assert list(mixed.walk(mixed.every())) == list(ordered.walk(ordered.every()))
    assert len(mixed) == 20
    assert mixed.tokens == {"toy-bm4": 60}
    for found in (ordered, mixed):
        items = [[one.item_id for one in found.walk([block])] for block in found.blocks("toy-bm4", 2)]
        assert items == [[f"p{n}" for n in group for _ in range(4)] for group in ((0, 1, 2), (3, 4))]


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.5, 0.8, 0.999])
def test_the_threshold_is_that_of_all_tokens_at_once(tmp_path, quantile):
    """Ties, zeros of both signs, and negative numbers from rounding among them."""
    torch.manual_seed(0)
    entropies = [torch.randn(n).abs().round(decimals=2) - 0.05 * (n % 2) for n in (0, 1, 7, 300, 2)]
    entropies[3][:9] = torch.tensor([0.0, -0.0, 1e-9, -1e-9, 0.5, 0.5, 0.5, 1e30, -0.0])
    kls = [torch.rand(len(one)) for one in entropies]
    with ForkingTokens(tmp_path) as waiting:
        for entropy, kl in zip(entropies, kls):
            waiting.add(entropy, kl)
        expected = forking_share(torch.cat(entropies), torch.cat(kls), quantile)
        assert waiting.threshold(quantile) == expected.threshold
        each = list(waiting.of_each(expected.threshold))
        assert each == [
            (int((h > expected.threshold).sum()), float(d[h > expected.threshold].double().sum()))
            for h, d in zip(entropies, kls)
        ]
        with pytest.raises(ValueError, match="NaN"):
            waiting.add(torch.tensor([float("nan")]), torch.zeros(1))
    assert list(tmp_path.iterdir()) == []


def test_forking_tokens_take_no_memory_of_the_process(tmp_path):
    """48 MiB of entropies and KLs, and the threshold between them, in 12 MiB: files that are mapped do not count."""
    generator, before = torch.Generator().manual_seed(0), resource.getrlimit(resource.RLIMIT_DATA)
    with ForkingTokens(tmp_path) as forks:
        for _ in range(64):
            entropy = torch.rand(2**16, generator=generator)
            forks.add(entropy, entropy)
        data = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
        resource.setrlimit(resource.RLIMIT_DATA, (int(data[1]) * 1024 + 12 * 2**20, before[1]))
        try:
            with pytest.raises(MemoryError):
                np.ones(2**22, dtype=np.float32)
            threshold = forks.threshold(0.8)
            counts = [count for count, _ in forks.of_each(threshold)]
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, before)
    assert threshold == pytest.approx(0.8, abs=1e-3)
    assert sum(counts) == pytest.approx(0.2 * 2**22, abs=1)


def test_memory_does_not_grow_with_the_number_of_completions(student, teacher, tmp_path, monkeypatch):
    """Four times the completions: their rows of numbers are more, their tokens are not held."""
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 2**17)
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    monkeypatch.setattr(hidden, "FORWARD_TOKENS", 2000)
    pair = Pair(HiddenStates(student, "student"), HiddenStates(teacher, "teacher"), CONFIG, 1.0)
    peaks, held = [], []
    for prompts in (4, 16):
        own = completions_of(tmp_path / f"{prompts}.parquet", prompts, 400)
        keys = {("toy-bm4", f"p{n}"): "7" for n in range(prompts)}

        def measure():
            found = Completions.of(own.path)  # noqa: B023
            rows, _ = _token_rows(pair, {"student": found}, keys, CONFIG, tmp_path, silent)  # noqa: B023
            assert len(rows) == 4 * prompts  # noqa: B023
            assert len(_gradients(pair, found, CONFIG)) == 2

        peaks.append(peak(measure))
        held.append(peak(lambda: list(own.walk(own.every()))))  # noqa: B023
    print(peaks, held)
    assert peaks[1] - peaks[0] < (held[1] - held[0]) / 3


def peak(work) -> int:
    """Bytes at the most: Python's and numpy's objects, and Arrow's own."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    POOLS.append(pool)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


POOLS: list[pa.MemoryPool] = []
"""They must outlive every buffer that was made in them."""
