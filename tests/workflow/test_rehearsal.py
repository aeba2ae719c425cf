"""What a rehearsal changes in a study's plan, and what the commands refuse. One is run in test_rehearsed_study.py."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import save_qwen

from repro.cli.run import _with_planned_layouts
from repro.errors import InputError
from repro.pipeline.cluster import Cluster, Execution
from repro.pipeline.submission import Submission
from repro.planner.fit import placements
from repro.planner.placement import Cards
from repro.planner.resources import resources_for
from repro.recipes.catalog import STUDIES, plan, settings_of
from repro.recipes.settings import Settings, flatten, override
from repro.report.history import append_to_history
from repro.workflow import rehearsal
from repro.workflow.rehearsal import FEW, planned_layouts, rehearsal_of, result_name

COUNTS = (
    "steps",
    "items",
    "_per_",
    "group_size",
    "max_completion_tokens",
    "prompts",
    "tokens",
    "resamples",
    "completions",
)
SMALL = 100


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_no_count_of_a_scale_is_left_out(scale):
    """A new setting that counts something is listed in FEW, or is small already."""
    few = flatten(override(settings_of(scale), FEW).model_dump())
    counts = {name: value for name, value in few.items() if any(part in name.rpartition(".")[2] for part in COUNTS)}
    large = {name: value for name, value in counts.items() if isinstance(value, int) and value > SMALL}
    assert large == {}
    assert {"calibration.steps", "gkd_rkl.sequences_per_step", "evaluation.completions_per_prompt"} <= counts.keys()


@pytest.fixture
def made(monkeypatch):
    """Miniatures that are only named; returns the names of the models they stand for."""
    asked: list[str] = []

    def make_miniature(name, folder, lessons, **options):
        asked.append(name)
        return Path("toy:qwen3-student")  # a name that every plan accepts

    monkeypatch.setattr(rehearsal, "make_miniature", make_miniature)
    monkeypatch.setattr(rehearsal, "_check_inputs", lambda stages: None)
    monkeypatch.setattr(rehearsal, "_answers", lambda stages: [("1 + 1 = ?", "2")])
    monkeypatch.setattr(rehearsal, "_lessons", lambda name, answers, reasoning: list(answers))
    return asked


@pytest.mark.parametrize("study", STUDIES)
def test_every_model_of_a_study_is_replaced(study, made, tmp_path):
    planned = plan(study, scale="paper", families=("all",), seeds=1)
    rehearsed = rehearsal_of(planned, tmp_path, has_gpu=True, console=_quiet())
    names = {model.name for stage in planned.stages() for model in stage.base_models()}
    assert set(made) >= names
    assert {model.name for stage in rehearsed.stages() for model in stage.base_models()} == {"toy:qwen3-student"}
    assert rehearsed.is_rehearsal
    assert [(row.method, row.family) for row in rehearsed.rows] == [(row.method, row.family) for row in planned.rows]


def _quiet():
    from rich.console import Console

    return Console(quiet=True)


def test_the_users_settings_stay_but_for_counts_and_models(made, tmp_path):
    given = ("eta=0.3", "calibration.steps=500", "sft.warmup_fraction=0.5")
    planned = plan("table2", scale="small", seeds=2, first_seed=3, assignments=given)
    settings = Settings.model_validate(rehearsal_of(planned, tmp_path, has_gpu=False, console=_quiet()).settings)
    assert (settings.eta_distillable, settings.sft.warmup_fraction) == (0.3, 0.5)
    assert settings.calibration.steps == 2
    assert settings.evaluation.engine == "transformers"


@pytest.mark.parametrize(("has_gpu", "given", "engine"), [(True, (), "vllm"), (False, (), "transformers"),
                                                          (False, ("engine=vllm",), "vllm")])  # fmt: skip
def test_transformers_samples_where_there_is_no_gpu(has_gpu, given, engine, made, tmp_path):
    planned = plan("table2", scale="small", seeds=1, assignments=given)
    settings = Settings.model_validate(rehearsal_of(planned, tmp_path, has_gpu=has_gpu, console=_quiet()).settings)
    assert settings.calibration.engine == settings.evaluation.engine == engine


def test_stages_have_the_layouts_that_the_plan_gives_the_real_models(made, tmp_path):
    planned = plan("table2", scale="paper", families=("gemma3",), seeds=1)
    rehearsed = rehearsal_of(planned, tmp_path, has_gpu=True, console=_quiet())
    resources, node = resources_for("paper"), Cards(8, 78.0)
    stages = planned.stages()
    of_real = {stage.label: placed for stage, placed in zip(stages, placements(planned, stages, resources, node))}
    layouts = planned_layouts(planned, rehearsed, resources, node)
    calibrated = next(stage for stage in rehearsed.stages() if stage.kind == "calibrate")
    assert layouts[calibrated.fingerprint] == of_real[calibrated.label].layout
    assert layouts[calibrated.fingerprint].shard
    on_one = planned_layouts(planned, rehearsed, resources, Cards(1, 24.0))
    assert calibrated.fingerprint not in on_one
    assert {layout.gpus for layout in on_one.values()} <= {1}


def test_a_jobs_gpus_are_those_that_were_asked_for(made, tmp_path):
    planned = plan("table2", scale="small", seeds=1)
    rehearsed = rehearsal_of(planned, tmp_path, has_gpu=True, console=_quiet())
    layouts = planned_layouts(planned, rehearsed, resources_for("small", ranks=2, vllm_server=1), Cards(3, 22.0))
    assert {layout.gpus for layout in layouts.values()} == {2, 3}  # training has a server besides


@pytest.mark.parametrize(("given", "spread"), [(8, 4), (6, 4), (3, 2), (2, 2)])
def test_a_miniature_is_spread_over_gpus_that_share_its_heads(given, spread, made, tmp_path):
    planned = plan("table2", scale="paper", seeds=1)
    rehearsed = rehearsal_of(planned, tmp_path, has_gpu=True, console=_quiet())
    layouts = planned_layouts(planned, rehearsed, resources_for("paper", tensor_parallel=given), Cards(8, 78.0))
    spread_ones = {layout for layout in layouts.values() if layout.tensor_parallel > 1}
    assert {(layout.tensor_parallel, layout.ranks) for layout in spread_ones} == {(spread, spread)}


def test_results_of_different_settings_have_different_names():
    first, second = (plan("table2", scale="small", seeds=1, assignments=given) for given in ((), ("eta=0.3",)))
    assert result_name(first) != result_name(second)
    assert result_name(first) != result_name(replace(first, seeds=(0, 1)))  # neither replaces the other
    assert result_name(first) == result_name(replace(first, assignments=("eta=1",)))


def test_prompts_too_long_for_the_real_model_are_refused_before_anything_is_made(tmp_path, monkeypatch):
    """The miniature's completions are shorter: it would take them."""
    folder = save_qwen(tmp_path / "model")  # 128 positions
    models = tuple(f"families.qwen3.{role}={folder}" for role in ("teacher", "student", "target"))
    monkeypatch.setattr(rehearsal, "read_items", None)
    monkeypatch.setattr(rehearsal, "make_miniature", None)
    planned = plan("figure1a", scale="small", seeds=1, assignments=(*models, "tasks=toy-bm4", "controls=false"))
    with pytest.raises(InputError, match="positions"):
        rehearsal_of(planned, tmp_path, has_gpu=False, console=_quiet())


def test_the_toy_scale_needs_none(tmp_path):
    with pytest.raises(InputError, match="--scale small or paper"):
        rehearsal_of(plan("table2", scale="toy", seeds=1), tmp_path, has_gpu=False, console=_quiet())


def test_its_result_does_not_enter_a_history(tmp_path, monkeypatch):
    monkeypatch.setattr("repro.report.history.read_result", lambda path: {"rehearsal": True})
    with pytest.raises(InputError, match="result of a rehearsal"):
        append_to_history(tmp_path, tmp_path / "history.jsonl")
    assert not (tmp_path / "history.jsonl").exists()


def test_the_order_of_a_job_and_the_terminal_have_the_layouts(made, tmp_path, capsys):
    planned = plan("table2", scale="paper", families=("gemma3",), seeds=1)
    rehearsed = rehearsal_of(planned, tmp_path, has_gpu=True, console=_quiet())
    calibrated = next(stage for stage in rehearsed.stages() if stage.kind == "calibrate")
    unknown = Execution(resources_for("paper"), backend="slurm")
    assert _with_planned_layouts(unknown, planned, rehearsed, {"gpus": []}, quiet=False) is unknown
    execution = replace(unknown, cluster=Cluster(gpus=8))
    execution = _with_planned_layouts(execution, planned, rehearsed, {"gpus": []}, quiet=False)
    assert "GPUs of a stage: 1 (stages: " in capsys.readouterr().out
    order = Submission(tmp_path, tmp_path, execution)._order(calibrated, ())
    assert (order["resources"]["ranks"], order["resources"]["shard"]) == (2, "always")
    here = {"gpus": [{"memory_gib": 79.2}] * 2}
    local = _with_planned_layouts(replace(execution, backend="local"), planned, rehearsed, here, quiet=True)
    assert local.layouts[calibrated.fingerprint].shard
    assert capsys.readouterr().out == ""
