"""What a plan says before anything runs: how many items there are, what fits, and what a night holds."""

import pytest

from repro.errors import InputError
from repro.planner.architectures import PUBLISHED, architecture
from repro.planner.cards import CARDS
from repro.planner.disk import disk_space
from repro.planner.dry_run import describe_data
from repro.planner.gpu_memory import GIB, gpu_memory
from repro.planner.hours import TABLE5_ROWS, hours_on_card, table5_hours
from repro.planner.resources import Layout
from repro.planner.tokens import planned_items
from repro.recipes.catalog import plan
from repro.recipes.paper import FAMILIES, settings
from repro.stages import Calibrate, Distill, Evaluate
from repro.tables import load
from repro.tasks import registry
from repro.tasks.row_counts import count_items, expected_items
from repro.toy.pool import TASK_NAMES
from repro.toy.world import DEFAULT_WORLD


@pytest.fixture(scope="module")
def paper():
    return plan("table2", scale="paper", seeds=1)


def test_the_defaults_are_the_papers_two_families(paper):
    assert paper.families == ("gemma3", "qwen3") == tuple(FAMILIES)
    assert set(settings().families) == {*FAMILIES, "deepseek-r1", "llama3"}
    assert all(
        name in PUBLISHED
        for family in settings().families.values()
        for name in (family.teacher, family.student, family.target)
    )


def test_one_epoch_is_the_steps_of_every_training(paper):
    """Table 5's hours are of one epoch: prompts drawn once, by calibration, sampling and distillation alike."""
    for stage in paper.stages():
        if isinstance(stage, Calibrate):
            assert planned_items(stage) == pytest.approx(stage.config.steps * stage.config.prompts_per_step, rel=0.001)
        elif isinstance(stage, Distill):
            assert planned_items(stage) == pytest.approx(
                stage.config.steps * stage.config.sequences_per_step, rel=0.001
            )


def test_no_plan_promises_more_items_than_there_are():
    paper = plan("table2", scale="paper", seeds=1, assignments=("train_items=12800",))
    lines = describe_data(paper.stages())
    assert "csqa train: 12,800 requested, 9,741 available, 9,741 used: fewer than requested, all are used" in lines
    assert "vicuna test: 500 requested, 80 available, 80 used: fewer than requested, all are used" in lines
    assert any(
        line.startswith("bigmath-4 train: 12,800 requested; how many are available is known once") for line in lines
    )
    train = next(stage for stage in paper.stages() if isinstance(stage, Calibrate))
    assert planned_items(train) < 12_800 * len(train.data)


def test_a_task_for_evaluation_only_is_never_trained_on(paper):
    for stage in paper.stages():
        if not isinstance(stage, Evaluate):
            assert "vicuna" not in {data.task for data in stage.data}
    with pytest.raises(InputError, match="evaluation only"):
        plan("table2", scale="paper", seeds=1, assignments=("tasks=vicuna",))
    assert not registry.has_training_rows("vicuna")
    assert registry.has_training_rows("toy-vicuna")
    assert registry.has_training_rows("file-numeric")


def test_counts_of_toy_tasks_are_exact():
    for task in TASK_NAMES:
        for split in ("train", "test"):
            assert count_items(task, split) == len(registry.get(task).items(split, None, 0))
            assert count_items(task, split, DEFAULT_WORLD.name) == count_items(task, split)
            for world in ("world4", "world5"):
                assert count_items(task, split, world) == len(registry.get(task, revision=world).items(split, None, 0))
    assert expected_items("csqa", "train", 10) == 10
    assert expected_items("toy-bm4", "test", None, "world4") == count_items("toy-bm4", "test", "world4")
    assert expected_items("bigmath-4", "train", 10) == 10
    assert count_items("bigmath-4", "train") is None


def test_a_plan_in_another_world_has_the_counts_of_that_world():
    tasks = "toy-bm4,toy-csqa"
    study = plan("table2", scale="toy", seeds=1, assignments=("world=world4", "test_items=none", f"tasks={tasks}"))
    counts = {task: len(registry.get(task, revision="world4").items("test", None, 0)) for task in tasks.split(",")}
    assert counts != {task: count_items(task, "test") for task in counts}
    for task, n in counts.items():
        assert f"{task} test: all requested, {n:,} available, {n:,} used" in describe_data(study.stages())
    evaluation = next(stage for stage in study.stages() if isinstance(stage, Evaluate))
    assert planned_items(evaluation) == sum(counts.values())


def test_stages_of_the_qwen_pipeline_have_the_hours_of_table5_toml_beside_them(paper):
    printed = {cell.row["process"]: cell.value for cell in load("table5").cells}
    assert len(printed) == len(TABLE5_ROWS) == 5
    stages = [row.stage.model for row in paper.rows if row.family == "qwen3"]
    charged = [(stage.procedure, stage) for stage in stages if isinstance(stage, Calibrate | Distill)]
    assert {kind for kind, _ in charged} == set(TABLE5_ROWS) - {"sample"}
    for kind, stage in charged:
        assert table5_hours(stage) == printed[TABLE5_ROWS[kind]]


def test_training_memory_is_sixteen_bytes_a_parameter_and_more(paper):
    stage = next(s for s in paper.stages() if isinstance(s, Distill) and s.config.method == "sft")
    weights = architecture(stage.student.name).parameters * 1e9 / GIB
    assert gpu_memory(stage).total > 16 * weights
    assert disk_space(stage).artifact == pytest.approx(4 * weights)
    assert gpu_memory(stage, Layout(micro_batch=4)).total > gpu_memory(stage).total


def test_a_training_beside_vllm_counts_the_copy_that_it_starts_from():
    """In bfloat16, where the model's folder has a vision tower, or more ids than are compared."""
    stages = plan("table2", scale="paper", families=("all",), seeds=1).stages()
    students = {s.student.name: s for s in stages if isinstance(s, Distill) and s.config.method == "gkd-rkl"}
    for name, copied in (("Qwen/Qwen3-1.7B", 0), ("google/gemma-3-4b-it", 2)):
        weights = architecture(name).parameters * 1e9 / GIB
        assert disk_space(students[name]).scratch == pytest.approx((2 * 12 + copied) * weights)
    off_policy = next(
        s for s in stages if isinstance(s, Distill) and s.config.method == "sft" and "gemma" in s.student.name
    )
    weights = architecture(off_policy.student.name).parameters * 1e9 / GIB
    assert disk_space(off_policy).scratch == pytest.approx(2 * 12 * weights)


def test_sizes_of_a_folder_are_its_own():
    from repro.models.loading import load_model, locate

    where = locate("toy:qwen3-teacher")
    model, sizes = load_model(where), architecture("toy:qwen3-teacher")
    assert sizes.parameters * 1e9 == pytest.approx(model.num_parameters())
    assert (sizes.layers, sizes.hidden) == (model.config.num_hidden_layers, model.config.hidden_size)
    assert architecture("somebody/New-7B-chat").parameters == 7


def test_the_small_scale_is_a_night_on_any_card_that_it_is_for():
    study = plan("table2", scale="small", seeds=1)
    hours = {name: hours_on_card(study, card) for name, card in CARDS.items()}
    assert max(hours.values()) <= 10
    assert not study.settings["calibration"]["reasoning"]


@pytest.mark.parametrize("study", ["table2", "figure1a", "figure4", "failure-modes"])
def test_a_study_of_one_item_is_refused_when_planned(study: str) -> None:
    with pytest.raises(InputError, match="one evaluation item has no spread, so no claim could be judged"):
        plan(study, scale="toy", assignments=["test_items=1"])
    assert plan(study, scale="toy", assignments=["test_items=2"]).rows


def test_what_is_named_twice_has_its_rows_once():
    """A row twice under a seed would be measured as two seeds, after everything has run."""
    assert plan("table2", scale="toy", families=["qwen3", "qwen3"]).rows == plan("table2", scale="toy").rows
    larger = "families.qwen3.larger_teachers=toy:qwen3-teacher,toy:qwen3-student,toy:qwen3-student"
    rows = plan("table1", scale="toy", families=["qwen3"], assignments=[larger]).rows
    assert len({row.method for row in rows}) == len(rows) == 2
