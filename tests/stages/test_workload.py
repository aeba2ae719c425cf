"""Workloads: the counts that every formula of the planner starts from."""

from repro.recipes.catalog import plan
from repro.stages.workload import PASSES


def test_flops_per_token_follow_the_passes_of_both_models():
    """One forward pass takes two operations a parameter, forward and backward take six."""
    assert PASSES["sample"].flops(10, 0) == 2 * 10
    assert PASSES["sft"].flops(1, 10) == 6 * 1
    assert PASSES["gkd-fkl"].flops(1, 10) == 6 * 1 + 2 * 10
    assert PASSES["gkd-rkl"].flops(1, 10) == 8 * 1 + 2 * 10
    assert PASSES["calibrate"].flops(10, 1) == 10 * 10 + 2 * 1


SAMPLING = ("calibrate", "gkd-rkl", "sample", "guarded", "evaluate", "continue")


def test_every_kind_of_stage_gives_a_workload():
    stages = [
        stage
        for study in ("table2", "table1", "figure4", "failure-modes", "guards")
        for stage in plan(study, scale="toy").stages()
    ]
    without_model = {"select", "mix", "rewrite", "grade"}
    assert {stage.procedure for stage in stages} - without_model == set(PASSES)
    for stage in stages:
        workload = stage.workload
        assert workload.trains == (stage.procedure in ("calibrate", "train-output-layer", "sft", "gkd-fkl", "gkd-rkl"))
        assert workload.samples == (stage.procedure in SAMPLING)
        assert (workload.frozen is not None) == (workload.passes.frozen > 0)
