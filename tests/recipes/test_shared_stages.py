"""Plans of Tables 3, 6 and 7, the sweep and the controls: what is calibrated on what, and what is shared."""

import pytest

from repro.errors import InputError
from repro.planner.cards import CPU_CORE
from repro.planner.roofline import stage_seconds
from repro.printed.load import load
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Diagnose, Distill, Evaluate


def fingerprints(study, kind):
    return {stage.fingerprint for stage in study.stages() if isinstance(stage, kind)}


def tasks_of(stage):
    return tuple(data.task for data in stage.data)


def rows_of(study, method):
    return [row.stage for row in study.rows if row.method == method]


@pytest.mark.parametrize("study", ["table3", "table6", "table7"])
def test_every_printed_row_is_planned_at_paper_scale(study):
    planned, stored = plan(study, scale="paper", seeds=1), load(study)
    labels = {(row.family, row.method) for row in planned.rows}
    assert {(cell.row["family"], stored.label(cell)) for cell in stored.cells} <= labels
    columns = list(dict.fromkeys(cell.column for cell in stored.cells))
    assert [stored.column_of(task) for task in planned.tasks] == columns


def test_table3_calibrates_on_mathematics_alone_and_measures_what_it_never_saw():
    for scale, source in (
        ("toy", ("toy-bm4", "toy-bm5")),
        ("paper", ("bigmath-4", "bigmath-5")),
        ("small", ("gsm8k",)),
    ):
        study = plan("table3", scale=scale, seeds=1)
        assert {tasks_of(stage) for stage in study.stages() if isinstance(stage, Calibrate)} == {source}
        assert not set(source) & set(study.tasks)
        for stage in rows_of(study, "Misled (OOD)"):
            assert tasks_of(stage.model) == source
            assert tasks_of(stage) == study.tasks
        across = rows_of(study, "Misled (CD)")[: len(study.tasks)]
        assert [tasks_of(stage) for stage in across] == [(task,) for task in study.tasks]
        assert all(tasks_of(stage.model) == tasks_of(stage) for stage in across)
        assert {tasks_of(stage.model.teacher) for stage in across} == {source}


def test_table3_shares_table2s_calibrations_where_those_are_on_its_source_tasks():
    alike = ["tasks=toy-bm4,toy-bm5"]
    table2, table3 = plan("table2", scale="toy", seeds=2, assignments=alike), plan("table3", scale="toy", seeds=2)
    assert fingerprints(table3, Calibrate) < fingerprints(table2, Calibrate)
    assert len(fingerprints(table3, Distill) & fingerprints(table2, Distill)) == 4


def test_untouched_models_are_evaluated_in_the_stages_of_table2_and_table6():
    table2, table3 = (plan(name, scale="paper", seeds=1) for name in ("table2", "table3"))
    table6, table7 = (plan(name, scale=scale, seeds=1) for name, scale in (("table6", "toy"), ("table7", "toy")))
    for first, second in ((table2, table3), (table6, table7)):
        for method in ("Teacher", "Student"):
            assert set(rows_of(second, method)) == set(rows_of(first, method))


def test_table6_has_a_calibration_and_a_student_per_task_and_table7_shares_them():
    table6, table7 = (plan(name, scale="toy", seeds=1) for name in ("table6", "table7"))
    for stage in rows_of(table6, "Misled"):
        assert tasks_of(stage) == tasks_of(stage.model) == tasks_of(stage.model.teacher)
        assert len(tasks_of(stage)) == 1
    assert len(rows_of(table6, "Undistillable")) == len(table6.tasks) * len(table6.families)
    assert fingerprints(table7, Calibrate) < fingerprints(table6, Calibrate)
    assert set(table6.families) == {"gemma3", "qwen3"}
    assert plan("table6", scale="paper", seeds=1).families == ("deepseek-r1", "llama3")


def test_without_controls_only_the_papers_rows_are_run():
    for name in ("table3", "table6", "table7"):
        study = plan(name, scale="toy", seeds=1, assignments=["controls=no"])
        assert not [row.method for row in study.rows if "Eta0" in row.method]
        assert {stage.config.eta for stage in study.stages() if isinstance(stage, Calibrate)} == {-1.0}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("tasks=toy-bm4,toy-bm5", "so none is unseen"),
        ("tasks=toy-bm4,toy-bm5,toy-dolly", "so none is unseen"),
        ("source_tasks=toy-csqa,toy-vicuna", "toy-vicuna is not among the tasks"),
    ],
)
def test_a_task_that_is_not_unseen_is_one_line(assignment, message):
    with pytest.raises(InputError, match=message):
        plan("table3", scale="toy", seeds=1, assignments=[assignment])


def test_the_sweep_has_nine_values_three_seeds_and_the_points_of_table2():
    study = plan("eta-sweep", scale="toy")
    calibrations = [stage for stage in study.stages() if isinstance(stage, Calibrate)]
    etas = sorted({stage.config.eta for stage in calibrations})
    assert (etas[0], etas[-1]) == (-2, 2)
    assert len(etas) >= 9
    assert study.seeds == (0, 1, 2)
    assert plan("eta-sweep", scale="paper").seeds == (0, 1, 2)
    assert fingerprints(plan("table2", scale="toy", seeds=3), Calibrate) < fingerprints(study, Calibrate)
    per_eta = {Evaluate: 3, Diagnose: 1}
    for kind, number in per_eta.items():
        rows = [row for row in study.rows if isinstance(row.stage, kind) and ", eta " in row.method]
        assert len(rows) == number * len(etas) * 3


def test_etas_are_a_setting():
    study = plan("eta-sweep", scale="toy", seeds=1, assignments=["etas=-1,0,1"])
    assert sorted({stage.config.eta for stage in study.stages() if isinstance(stage, Calibrate)}) == [-1, 0, 1]
    with pytest.raises(InputError, match="etas"):
        plan("eta-sweep", scale="toy", seeds=1, assignments=["etas=-1,nan,1"])
    with pytest.raises(InputError, match="etas"):
        plan("eta-sweep", scale="toy", seeds=1, assignments=["etas=-1,1"])


def test_each_control_changes_one_thing_of_the_undistillable_calibration():
    study = plan("controls", scale="toy", seeds=1)
    paper = rows_of(study, "Undistillable")[0].model
    changed = {
        row.method: {
            name
            for name, value in [*dict(row.stage.model).items(), *dict(row.stage.model.config).items()]
            if name != "config" and value != {**dict(paper), **dict(paper.config)}[name]
        }
        for row in study.rows
        if row.method.startswith("Undistillable (")
    }
    assert changed == {
        "Undistillable (per token)": {"length_normalised"},
        "Undistillable (batch)": {"advantages"},
        "Undistillable (KL-matched)": {"reward", "steps", "kl_beta", "matches"},
        "Undistillable (null reward)": {"reward"},
        "Undistillable (style reward)": {"reward"},
        "Undistillable (length reward)": {"reward"},
        "Undistillable (blind target)": {"reward"},
        "Undistillable (other target)": {"target"},
    }
    assert rows_of(study, "Undistillable (KL-matched)")[0].model.matches == paper
    assert not [
        row
        for row in plan("controls", scale="paper", families=("llama3",), seeds=1).rows
        if "other target" in row.method
    ]
    table2 = plan("table2", scale="toy", seeds=1)
    for method in ("Misled", "Eta0-Student", "No-reasoning", "SFT"):
        assert rows_of(study, method) == rows_of(table2, method)


def test_further_controls_of_table2_are_run_on_request_only():
    plain, full = (plan("table2", scale="toy", seeds=1, assignments=more) for more in ([], ["more_controls=yes"]))
    assert full.rows[: len(plain.rows)] == plain.rows
    added = {row.method: row for row in full.rows[len(plain.rows) :]}
    (zero,) = rows_of(plan("guards", scale="toy", seeds=1), "no-teacher")[:1]
    assert added.pop("No-teacher").stage == zero
    assert set(added) == {
        "Undistillable (KL-matched)", "Misled (KL-matched)", "SFT (Distillable)", "SFT (Undistillable)",
        "GKD-FKL (Distillable)", "GKD-FKL (Undistillable)",
    }  # fmt: skip
    controls = plan("controls", scale="toy", seeds=1)
    assert [added["Misled (KL-matched)"].stage] == rows_of(controls, "Misled (KL-matched)")
    for sign in ("Distillable", "Undistillable"):
        (teacher,) = rows_of(full, sign)
        for method in ("SFT", "GKD-FKL"):
            student = added[f"{method} ({sign})"].stage.model
            assert student.teacher == student.samples.model == teacher.model
            assert student.config == rows_of(full, method)[0].model.config


def test_toy_hours_follow_the_settings():
    full, half = (
        next(
            stage
            for stage in plan("table2", scale="toy", seeds=1, assignments=[f"gkd_rkl.steps={steps}"]).stages()
            if isinstance(stage, Distill) and stage.config.method == "gkd-rkl"
        )
        for steps in (200, 100)
    )
    per_step = (stage_seconds(full, CPU_CORE) - CPU_CORE.load_seconds) / 200
    assert stage_seconds(half, CPU_CORE) == pytest.approx(CPU_CORE.load_seconds + 100 * per_step)


def test_a_plan_reads_each_model_once_and_the_next_plan_reads_again(monkeypatch):
    looks = []
    monkeypatch.setattr("repro.recipes.shared_stages.revision_of", lambda name: looks.append(name) or f"r{len(looks)}")
    first = plan("eta-sweep", scale="toy", seeds=1)
    assert sorted(looks) == sorted(set(looks))
    second = plan("eta-sweep", scale="toy", seeds=1)
    assert len(looks) == 2 * len(set(looks))
    assert first.rows[0].stage.model.revision != second.rows[0].stage.model.revision
