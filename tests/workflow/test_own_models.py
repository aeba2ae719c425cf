"""One stage on the user's own models: the options decide what is planned."""

import pytest

from repro.workflow.own_models import StageOptions, sample_stage


@pytest.mark.parametrize(
    ("assignments", "count"), [([], 16), (["teacher_sampling.completions_per_prompt=3"], 3), (["eta=0.2"], 16)]
)
def test_sampling_takes_sixteen_completions_by_default(assignments, count):
    stage = sample_stage(
        "toy:qwen3-student", "train", StageOptions(tasks=("toy-bm4",), items=2, assignments=assignments)
    )
    assert stage.config.completions_per_prompt == count
