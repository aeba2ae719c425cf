"""The plan of the study of guards and attacks: what is a cell, what is shared, and what is refused before anything runs."""

from types import SimpleNamespace

import pytest
from attacks.cells import check_shared

from repro.attacks.base import ATTACKS
from repro.attacks.matrix import NO_TEACHER, is_possible, rows
from repro.attacks.thief import Thief
from repro.errors import InputError
from repro.guards.base import GUARDS
from repro.recipes.catalog import plan, settings_of
from repro.recipes.labels import under
from repro.recipes.shared_stages import Pair
from repro.recipes.study import SCALES
from repro.stages import Distill, stage_adapter


@pytest.fixture(scope="module")
def study():
    return plan("guards", scale="toy")


def test_a_cell_per_guard_and_attack_that_its_interface_allows(study):
    labels = {row.method for row in study.rows}
    settings = settings_of("toy").matrix
    for guard in map(GUARDS.parse, settings.guards):
        for attack in map(ATTACKS.parse, settings.attacks):
            assert (under(attack.label, guard.label) in labels) == is_possible(attack, guard)
    assert under("gkd-rkl", "answer-only") not in labels
    assert under("own-answers", "answer-only") in labels
    assert {"Student", NO_TEACHER} <= labels


def test_stages_that_other_studies_have_are_theirs(study):
    labels = {
        "Student": "Student",
        "Teacher under none": "Teacher",
        "Teacher under knob": "Undistillable",
        "sft under none": "SFT",
        "gkd-fkl under none": "GKD-FKL",
        "gkd-rkl under none": "GKD-RKL",
        "gkd-rkl under knob": "Misled",
    }
    check_shared(study, "table2", labels)
    check_shared(study, "controls", {"Teacher under knob-per-token": "Undistillable (per token)"})


def test_no_teacher_reads_no_teacher(pair):
    student = ATTACKS.parse(NO_TEACHER).student(Thief(pair, GUARDS.parse("knob")))
    seen, todo = set(), [student]
    while todo:
        stage = todo.pop()
        seen |= {model.name for model in stage.base_models()}
        todo += stage.inputs()
    assert seen == {"toy:qwen3-student"}
    assert student == ATTACKS.parse(NO_TEACHER).student(Thief(pair, GUARDS.parse("none")))


def test_own_answers_learns_from_the_students_tokens_and_the_teachers_votes(pair):
    student = ATTACKS.parse("own-answers").student(Thief(pair, GUARDS.parse("knob")))
    selection = student.samples
    assert selection.completions.model == pair.student == student.teacher
    assert selection.voters.model == pair.calibrate_undistillable()
    assert selection.completions.config.completions_per_prompt == pair.settings.matrix.own_completions


def test_a_student_may_start_from_a_distilled_one(pair):
    student = ATTACKS.parse("warm-start").student(Thief(pair, GUARDS.parse("none")))
    assert student.config.method == "gkd-rkl"
    assert isinstance(student.student, Distill)
    assert student.student == pair.sft(pair.teacher)
    assert student.base_model == pair.student
    cold = pair.gkd_rkl(pair.teacher)
    assert student.fingerprint != cold.fingerprint
    assert student.label.endswith(f", after {pair.sft(pair.teacher).model_label}")
    assert student.student in set(student.inputs())


@pytest.mark.parametrize("scale", SCALES)
def test_every_stage_is_read_back_from_json(scale):
    study = plan("guards", scale=scale, seeds=1, assignments=["matrix.guards=none,doge,answer-only,poe,ads"])
    for stage in study.stages():
        again = stage_adapter.validate_json(stage.model_dump_json())
        assert again == stage
        assert again.fingerprint == stage.fingerprint


@pytest.mark.parametrize(
    ("scale", "assignment", "expected"),
    [
        ("small", "teacher_sampling.completions_per_prompt=4", 16),
        ("paper", "teacher_sampling.completions_per_prompt=20", 20),
        ("toy", "teacher_sampling.completions_per_prompt=4", 1024),
    ],
)
def test_a_guards_law_is_sampled_in_batches_of_several_prompts(scale, assignment, expected):
    """At toy scale in the batches of every engine there; elsewhere in what a card holds beside the proxies."""
    study = plan("guards", scale=scale, seeds=1, assignments=["matrix.guards=none,poe", assignment])
    traces = (s for s in study.stages() if s.kind == "guarded" and {data.split for data in s.data} == {"train"})
    assert {stage.config.batch_sequences for stage in traces} == {expected}


def test_a_guards_strength_is_part_of_the_identity_and_of_the_label(pair):
    def answers(text):
        plan_rows = rows(with_matrix(pair, guards=("none", text), attacks=("sft",)))
        return {row.method: row.stage.fingerprint for row in plan_rows}

    weak, strong = answers("poe(strength=0.1)"), answers("poe(strength=0.2)")
    assert weak["sft under poe(strength=0.1)"] != strong["sft under poe(strength=0.2)"]
    assert weak["sft under none"] == strong["sft under none"]


def test_doge_without_strength_is_the_open_teacher(pair):
    assert GUARDS.parse("doge(strength=0)").train(pair) == pair.teacher
    cells = {
        row.method: row.stage for row in rows(with_matrix(pair, guards=("none", "doge(strength=0)"), attacks=("sft",)))
    }
    for cell in ("sft under", "Teacher under"):
        assert cells[f"{cell} none"] == cells[f"{cell} doge(strength=0.0)"]
    assert "Teacher under doge(strength=0.0): moved" not in cells


def test_doge_trains_on_the_open_teachers_completions_against_the_target(pair):
    guard = GUARDS.parse("doge(strength=0.3,temperature=1)")
    stage = guard.train(pair)
    assert stage.samples == pair.sft(pair.teacher).samples
    assert stage.proxy.name == pair.models.target
    assert (stage.config.strength, stage.config.temperature) == (0.3, 1.0)
    assert (stage.config.steps, stage.config.learning_rate) == (
        pair.settings.sft.steps,
        pair.settings.sft.learning_rate,
    )
    assert stage.fingerprint != GUARDS.parse("doge(strength=0.4,temperature=1)").train(pair).fingerprint
    assert Thief(pair, guard).traces.model == stage
    moved_row = {
        row.method: row.stage for row in rows(with_matrix(pair, guards=(guard.label, "none"), attacks=("sft",)))
    }
    assert moved_row[f"Teacher under {guard.label}: moved"].model == pair.teacher  # by which an idle guard is found


def test_reweight_learns_from_all_traces_with_weights_of_its_own_samples(pair):
    thief = Thief(pair, GUARDS.parse("knob"))
    student = ATTACKS.parse("reweight").student(thief)
    plain = ATTACKS.parse("sft").student(thief)
    assert student.samples == plain.samples == student.weights.completions
    assert student.weights.model == pair.student
    assert student.weights.holdout == ATTACKS.parse("own-answers").student(thief).samples
    assert student.fingerprint != plain.fingerprint
    assert "weights" not in plain.identity()
    assert student.label == f"distill reweighted sft from {plain.samples.traces_label}"
    assert student.weights in set(student.inputs())
    assert ATTACKS.parse("reweight(strength=0)").student(thief) == plain


def test_weights_are_for_sft_on_the_same_completions(pair):
    student = ATTACKS.parse("reweight").student(Thief(pair, GUARDS.parse("none")))
    others = Thief(pair, GUARDS.parse("knob")).traces
    for change in ({"config": pair.settings.gkd_fkl}, {"samples": others}):
        with pytest.raises(ValueError, match="weights are for sft, and of the completions that it learns from"):
            Distill.model_validate(student.model_copy(update=change).model_dump())


def with_matrix(pair: Pair, **update) -> Pair:
    matrix = pair.settings.matrix.model_copy(update=update)
    settings = pair.settings.model_copy(update={"matrix": matrix})
    return Pair(pair.family, pair.models, settings, pair.seed)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("matrix.guards=none,knbo", "guard 'knbo': no such guard. Did you mean knob?"),
        ("matrix.attacks=stf", "attack 'stf': no such attack. Did you mean sft?"),
        ("matrix.guards=none,none", "matrix.guards: 'none' is listed twice"),
        ("matrix.attacks=no-teacher", "matrix.attacks=no-teacher: this is only the zero line of the matrix"),
        ("matrix.guards=knob(strength=1)", "guard 'knob': strength = '1': must be less than 0"),
        ("matrix.interface=text", "attack 'gkd-fkl' needs logits, but matrix.interface=text does not show it"),
        ("matrix.interface=nothing", "matrix.interface"),
    ],
)
def test_what_cannot_be_run_is_refused_at_planning(assignment, message):
    with pytest.raises(InputError) as error:
        plan("guards", scale="toy", assignments=[assignment])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("guard", ["knob", "knob-per-token", "doge", "poe", "ads"])
def test_a_guard_that_needs_weights_is_refused_on_a_served_teacher(pair, guard):
    served = SimpleNamespace(**{**vars(pair.models), "teacher": "http://localhost:1/v1#big"})
    remote = with_matrix(Pair(pair.family, served, pair.settings, 0), guards=(guard,))
    with pytest.raises(
        InputError, match=rf"guard '{guard}' needs the teacher's weights, and http://localhost:1/v1#big is"
    ):
        list(rows(remote))
