"""The plan of the study `leak`: rungs in order, what a guard closes, shared stages; and the count of queries to the teacher."""

import json

import pytest
from attacks.cells import check_shared, stages_by_label

from repro.attacks.base import ATTACKS, RUNGS
from repro.attacks.leak import is_open, ladder_of
from repro.attacks.thief import Thief
from repro.guards.base import GUARDS
from repro.recipes.catalog import plan
from repro.recipes.labels import under
from repro.stages import Distill
from repro.tables.measurements.leak import count_queries

TRACES, OWN, HOLDOUT, OF_OTHER, STEPS = 900, 7000, 300, 500, 150


@pytest.fixture(scope="module")
def study():
    return plan("leak", scale="toy")


def test_rungs_are_in_order_and_each_has_an_attack(study):
    labels = [row.method.removesuffix(" under none") for row in study.rows if row.method.endswith(" under none")]
    attacks = [ATTACKS.parse(label) for label in labels if label != "Teacher"]
    assert attacks == ladder_of(attacks)
    assert {attack.rung for attack in attacks} == set(RUNGS)


def test_the_ladder_sorts_by_what_is_read_and_keeps_the_order_of_a_rung():
    names = ["gkd-rkl", "gkd-fkl", "top-k", "sft", "sft-answers", "own-answers"]
    ladder = [attack.name for attack in ladder_of(list(map(ATTACKS.parse, names)))]
    assert ladder == ["sft-answers", "own-answers", "sft", "top-k", "gkd-fkl", "gkd-rkl"]


def test_a_guard_closes_the_rungs_above_what_it_shows(study):
    def open_to(guard):
        parsed = GUARDS.parse(guard)
        return {name for name in ATTACKS.names() if is_open(ATTACKS.parse(name), parsed)}

    answers = {"no-teacher", "own-answers", "sft-answers"}
    text = {"sft", "sft-majority", "sft-shortest", "sft-likeliest", "reweight", "supplement"}
    assert open_to("answer-only") == answers
    assert open_to("reorder") == open_to("poe") == answers | text
    assert open_to("none") == open_to("knob") == set(ATTACKS.names())
    labels = {row.method for row in study.rows}
    assert under("sft", "answer-only") not in labels
    assert under("sft", "reorder") in labels


def test_cells_share_their_stages_with_other_studies(study):
    labels = {
        "sft-answers under none": "No-reasoning",
        "sft under none": "SFT",
        "gkd-fkl under none": "GKD-FKL",
        "gkd-rkl under none": "GKD-RKL",
        "gkd-rkl under knob": "Misled",
    }
    check_shared(study, "table2", labels)
    shared = set(stages_by_label(study)) & set(stages_by_label(plan("guards", scale="toy")))
    assert {"no-teacher", "own-answers under knob", "gkd-fkl under none", "sft under reorder"} <= shared
    check_shared(study, "guards", {label: label for label in shared})


def queries(pair, cache, attack, guard):
    """Count for a student whose stages left only the sizes that a count may read."""
    thief = Thief(pair, GUARDS.parse(guard))
    student = ATTACKS.parse(attack).student(thief)
    traces = thief.traces
    while hasattr(traces, "completions"):
        traces = traces.completions
    sizes = {traces.folder_name: TRACES, thief.own.folder_name: OWN, thief.supplement.folder_name: OF_OTHER}
    if getattr(traces, "holdout", None):
        sizes[traces.holdout.folder_name] = HOLDOUT
    for folder, size in sizes.items():
        (cache / folder).mkdir(exist_ok=True)
        (cache / folder / "summary.json").write_text(json.dumps({"completions": size}))
    if isinstance(student, Distill) and student.samples is None:
        (cache / student.folder_name).mkdir(exist_ok=True)
        (cache / student.folder_name / "summary.json").write_text(json.dumps({"steps": STEPS}))
    return count_queries(student, thief.teacher, cache)


@pytest.mark.parametrize("guard", ["none", "knob", "doge", "answer-only", "reorder", "poe", "ads"])
@pytest.mark.parametrize(
    "attack", ["own-answers", "sft-answers", "sft", "sft-majority", "sft-likeliest", "reweight", "supplement"]
)
def test_queries_are_the_completions_that_the_teacher_sampled_for_the_thief(pair, tmp_path, attack, guard):
    assert queries(pair, tmp_path, attack, guard) == TRACES


def test_logits_come_with_the_completion_and_cost_no_query(pair, tmp_path):
    assert queries(pair, tmp_path, "gkd-fkl", "none") == queries(pair, tmp_path, "top-k(k=1)", "knob") == TRACES


def test_own_completions_that_the_teacher_scores_are_queries(pair, tmp_path):
    scored = STEPS * pair.settings.gkd_rkl.sequences_per_step
    assert queries(pair, tmp_path, "gkd-rkl", "knob") == scored
    assert queries(pair, tmp_path, "warm-start", "none") == TRACES + scored
    assert queries(pair, tmp_path, "warm-start(start=own-answers)", "none") == TRACES + scored


def test_a_student_without_a_teacher_asks_nothing(pair, tmp_path):
    assert queries(pair, tmp_path, "no-teacher", "knob") == 0
