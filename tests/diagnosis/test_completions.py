"""Completions streamed from their file: the same order, thresholds and numbers, in memory that does not grow."""

import random
import subprocess
import sys
import tracemalloc
from itertools import count

import pyarrow as pa
import pytest
import torch

from repro.diagnosis.completions import Completions
from repro.diagnosis.config import DiagnosisConfig
from repro.diagnosis.diagnose import _gradient_rows, _token_rows
from repro.diagnosis.forks import ForkingTokens
from repro.diagnosis.measure import measure_share
from repro.diagnosis.parts import DiagnosisInput
from repro.generation import rollouts as module
from repro.generation.rollouts import Rollout, write_rollouts
from repro.models import padded_batches
from repro.progress import silent
from repro.traps import forking_share

CONFIG = DiagnosisConfig(
    ks=(1, 3), tail_k=3, contribution_blocks=4, fork_quantile=0.8, gradient_prompts=2, gradient_tokens=4, resamples=20
)


def completions_of(path, prompts, tokens, order=lambda rows: rows):
    """Write random completions of a task, four per prompt."""
    rng = random.Random(0)
    rows = [
        Rollout(
            f"p{n // 4}", "toy-bm4", "?", n % 4, [1, 2], [rng.randrange(3, 12) for _ in range(tokens)], [], "7", "eos"
        )
        for n in range(4 * prompts)
    ]
    rows = [Rollout(**vars(row) | {"log_probs": [-rng.random() for _ in row.token_ids]}) for row in rows]
    write_rollouts(path, order(rows))
    return Completions.read(path)


def test_the_stream_is_prompt_by_prompt_whatever_the_order_of_the_file(tmp_path):
    ordered = completions_of(tmp_path / "a.parquet", 5, 3)
    mixed = completions_of(tmp_path / "b.parquet", 5, 3, lambda rows: sorted(rows, key=lambda row: row.sample))
    assert list(mixed.stream(mixed.prompts())) == list(ordered.stream(ordered.prompts()))
    assert len(mixed) == 20
    assert mixed.tokens == {"toy-bm4": 60}
    for completions in (ordered, mixed):
        items = [
            [rollout.item_id for rollout in completions.stream([block])] for block in completions.blocks("toy-bm4", 2)
        ]
        assert items == [[f"p{n}" for n in group for _ in range(4)] for group in ((0, 1, 2), (3, 4))]


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.5, 0.8, 0.999])
def test_the_threshold_is_that_of_all_tokens_at_once(tmp_path, quantile):
    """Ties, zeros of both signs, and negative numbers from rounding among them."""
    torch.manual_seed(0)
    entropies = [torch.randn(n).abs().round(decimals=2) - 0.05 * (n % 2) for n in (0, 1, 7, 300, 2)]
    entropies[3][:9] = torch.tensor([0.0, -0.0, 1e-9, -1e-9, 0.5, 0.5, 0.5, 1e30, -0.0])
    kls = [torch.rand(len(entropy)) for entropy in entropies]
    with ForkingTokens(tmp_path) as forks:
        for entropy, kl in zip(entropies, kls):
            forks.add(entropy, kl)
        expected = forking_share(torch.cat(entropies), torch.cat(kls), quantile)
        assert forks.threshold(quantile) == expected.threshold
        sums = list(forks.sum_each(expected.threshold))
        assert sums == [
            (int((h > expected.threshold).sum()), float(d[h > expected.threshold].double().sum()))
            for h, d in zip(entropies, kls)
        ]
        with pytest.raises(ValueError, match="NaN"):
            forks.add(torch.tensor([float("nan")]), torch.zeros(1))
    assert list(tmp_path.iterdir()) == []


FORKS_IN_LITTLE_MEMORY = """
import re, resource, sys
from pathlib import Path
import numpy as np, torch
from repro.diagnosis.forks import ForkingTokens
generator = torch.Generator().manual_seed(0)
with ForkingTokens(Path(sys.argv[1])) as forks:
    for _ in range(64):
        entropy = torch.rand(2**16, generator=generator)
        forks.add(entropy, entropy)
    data = re.search(r"VmData:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    resource.setrlimit(resource.RLIMIT_DATA, (int(data[1]) * 1024 + 12 * 2**20,) * 2)
    try:
        np.ones(2**22, dtype=np.float32)
    except MemoryError:
        threshold = forks.threshold(0.8)
        print(threshold, sum(count for count, _ in forks.sum_each(threshold)))
"""


def test_forking_tokens_take_no_memory_of_the_process(tmp_path):
    """48 MiB of entropies and KLs, and the threshold between them, in 12 MiB: mapped files do not count.

    A process of its own: the allocator of this one may have kept memory that a limit does not see.
    """
    command = [sys.executable, "-c", FORKS_IN_LITTLE_MEMORY, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    threshold, count = map(float, finished.stdout.split())
    assert threshold == pytest.approx(0.8, abs=1e-3)
    assert count == pytest.approx(0.2 * 2**22, abs=1)


def test_memory_does_not_grow_with_the_number_of_completions(student, teacher, tmp_path, monkeypatch):
    """Four times the completions: only their rows of numbers grow, tokens are not in memory."""
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 2**17)
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    monkeypatch.setattr(padded_batches, "FORWARD_TOKENS", 2000)
    peaks, token_peaks, numbers = [], [], count()
    for prompts in (4, 16):
        completions = completions_of(tmp_path / f"{prompts}.parquet", prompts, 400)
        keys = {("toy-bm4", f"p{n}"): "7" for n in range(prompts)}

        def measure():
            paths = {"student": completions.path}  # noqa: B023
            source = DiagnosisInput(student, teacher, paths, [], temperature=1.0, across_tokenizers=False)
            parts = measure_share(CONFIG, source, work=tmp_path / str(next(numbers)), progress=silent)
            rows, *_ = _token_rows(source, parts, keys, CONFIG, tmp_path)  # noqa: B023
            assert len(rows) == 4 * prompts  # noqa: B023
            assert sum(len(_gradient_rows(part)) for part in parts if part.kind == "gradients") == 2

        if not peaks:
            peak(measure)  # imports
        peaks.append(peak(measure))
        token_peaks.append(peak(lambda: list(completions.stream(completions.prompts()))))  # noqa: B023
    print(peaks, token_peaks)
    assert peaks[1] - peaks[0] < (token_peaks[1] - token_peaks[0]) / 3


def peak(function) -> int:
    """Return the peak bytes of Python, numpy and Arrow."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    POOLS.append(pool)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


POOLS: list[pa.MemoryPool] = []
"""They must outlive every buffer allocated from them."""
