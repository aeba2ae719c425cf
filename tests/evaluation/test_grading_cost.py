"""Grading costs under a hundredth of the processor time of drawing what is graded, its child process included."""

import resource
import time
from pathlib import Path

import pytest

from repro.generation.config import SamplingConfig
from repro.generation.rollouts import read_rollouts
from repro.generation.sample import sample
from repro.models.loading import locate
from repro.tasks import equality, grading, registry

BAR = 0.01


def _processor_seconds() -> float:
    """Return those of this process, and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


@pytest.mark.load_sensitive
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("task", ["toy-bm4", "toy-csqa"])
def test_grading_costs_a_hundredth_of_drawing(task: str, tmp_path: Path) -> None:
    items = registry.get(task).items("test", 150, 0)
    config = SamplingConfig(
        completions_per_prompt=16,
        max_completion_tokens=24,
        temperature=1.0,
        engine="transformers",
        batch_sequences=1024,
    )
    model = locate("toy:qwen3-student")
    arguments = {"model": model, "seed": 0, "progress": lambda *_: None}
    sample(config, items=items[:8], work=tmp_path / "warm", **arguments)  # imports, and the first use of each kernel
    before = _processor_seconds()
    files = sample(config, items=items, work=tmp_path / "work", **arguments)
    drawing = _processor_seconds() - before
    rollouts = [rollout for file in files for rollout in read_rollouts(file)]
    items_by_id = {item.id: item for item in items}
    kind = registry.kind_of(task)
    equality._child.stop()  # of earlier tests
    costs = []
    for _ in range(3):  # the least of them: another process may hold the caches of the processor
        for cache in (grading._extract_short, grading._grade_number, equality.compare):
            cache.cache_clear()
        before = _processor_seconds()
        for rollout in rollouts:
            item = items_by_id[rollout.item_id]
            grading.grade(kind, rollout.text, item.key, item.prompt)
        equality._child.stop()
        costs.append(_processor_seconds() - before)
    cost = min(costs)
    print(f"{task}: {len(rollouts)} completions, drawing {drawing:.3f} s, grading {cost:.4f} s, {cost / drawing:.2%}")
    assert cost < BAR * drawing
