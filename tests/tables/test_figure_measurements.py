"""Figures 1a and 4, the failure modes and Table 5: from artifacts written by hand to measured tables and verdicts."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from repro.evaluation.classify import classify_failures
from repro.evaluation.graded import Graded, write_graded
from repro.evaluation.judge import RuleJudge
from repro.evaluation.prefixes import CONTINUATIONS_FILE, SCHEMA
from repro.generation.rollouts import Rollout
from repro.planner.architectures import named_parameters
from repro.printed.load import load, load_claims
from repro.progress import silent
from repro.recipes.catalog import plan
from repro.report.examples import continued_prefixes, failure_modes
from repro.stages import Classify, Continue, Distill, Evaluate
from repro.stages.artifact import ROLLOUTS
from repro.tables.measured_table import MeasuredTable
from repro.tables.measurements.costs import FORMULAS, flops_per_token, stage_flops_per_token, study_costs
from repro.tables.measurements.measure import measure
from repro.tables.verdicts.verdict import verdict
from repro.tasks import registry

ASSIGNMENTS = ["tasks=toy-bm4", "test_items=12", "evaluation.completions_per_prompt=4"]
ITEMS = registry.get("toy-bm4").items("test", 12, 0)
GOOD, BAD = ["right"] * 4, ["wrong"] * 4


def write_evaluation(cache, stage, answers):
    """Write an evaluation. answers: per item, four of "right", "wrong" and None (no answer)."""
    rows = []
    for item, kinds in zip(ITEMS, answers):
        wrong = next(d for d in "01234567" if d != item.key)
        for sample, kind in enumerate(kinds):
            stated = {"right": item.key, "wrong": wrong}.get(kind)
            text = "think" if stated is None else f"think 1 \\boxed{{{stated}}}"
            rollout = Rollout(item.id, item.task, item.prompt, sample, [1], [4, 5, 6, 2], [0.0] * 4, text, "eos")
            rows.append(Graded(rollout, item.key, stated, float(stated == item.key)))
    folder = cache / stage.folder_name
    folder.mkdir(exist_ok=True)
    write_graded(folder / ROLLOUTS, [rows])
    return folder / ROLLOUTS


def verdicts_of(study, tables):
    report = verdict(tables, load(study), missing="inconclusive", resamples=500)
    return {v.claim: v for v in report.claims}


@pytest.fixture(autouse=True)
def moved_teachers(monkeypatch):
    """All teachers have moved: these studies have no calibrations on disk (test_idle.py has those that have not moved)."""
    monkeypatch.setattr("repro.tables.measurements.measure.idle_rows", lambda *_: {})


@pytest.fixture
def failures(tmp_path):
    """Student: solves ten of twelve. Misled: loses eight of them. SFT: loses two, too few for a rate."""

    def make(misled):
        study = plan("failure-modes", scale="toy", seeds=1, assignments=[*ASSIGNMENTS, "controls=false"])
        students = [row for row in study.rows if isinstance(row.stage, Classify)]
        for row in study.rows:
            if row not in students:
                write_evaluation(tmp_path, row.stage, [GOOD] * 12)
        before = write_evaluation(tmp_path, students[0].stage.before, [GOOD] * 10 + [BAD] * 2)
        for row in students:
            answers = misled if row.method == "Misled" else [BAD] * 2 + [GOOD] * 10
            after = write_evaluation(tmp_path, row.stage.after, answers)
            folder = tmp_path / row.stage.folder_name
            folder.mkdir(exist_ok=True)
            classify_failures(RuleJudge(), before=before, after=after, out=folder, progress=silent)
        return study, measure(study, tmp_path)

    return make


def test_rates_are_over_completions_of_lost_prompts_alone(failures, tmp_path):
    study, (table,) = failures([["wrong", "wrong", None, "right"]] * 8 + [GOOD] * 2 + [[None] * 4] * 2)
    assert table.mean("Student", "toy-bm4", "solved") == pytest.approx(10 / 12)
    assert table.mean("Misled", "toy-bm4", "lost") == pytest.approx(8 / 10)
    assert table.mean("Misled", "toy-bm4", "hallucination") == pytest.approx(1 / 2)
    assert table.mean("Misled", "toy-bm4", "degradation") == pytest.approx(1 / 4)  # not of the two it never solved
    assert table.mean("SFT", "toy-bm4", "lost") == pytest.approx(2 / 10)
    assert not table.has("SFT", "toy-bm4", "hallucination")  # two lost prompts are too few
    # three answers, two of them wrong and equal: a wrong majority with share one half, and one right answer
    assert table.mean("Misled", "toy-bm4", "overconfidence") == pytest.approx((8 * 0.5 + 2 * 0 + 2 * 0) / 12)
    assert table.mean("Misled", "toy-bm4", "pass_maj_gap") == pytest.approx(8 / 12)
    assert table.mean("Student", "toy-bm4", "pass_maj_gap") == 0
    models = [example["completions"][1]["model"] for example in failure_modes(study, tmp_path)]
    assert {"Misled: hallucination", "Misled: degradation"} <= set(models)


def test_a_mode_that_was_not_looked_for_is_inconclusive_with_a_reason(failures):
    _, tables = failures([["wrong"] * 4] * 8 + [GOOD] * 4)
    verdicts = verdicts_of("failure-modes", tables)
    assert verdicts["mode-hallucination"].value == "reproduced"
    assert verdicts["mode-self-correction"].value == "inconclusive"
    assert "has no measurement of self-correction collapse" in verdicts["mode-self-correction"].text


def test_a_student_that_loses_nothing_is_no_error(failures):
    _, tables = failures([GOOD] * 10 + [BAD] * 2)
    verdicts = verdicts_of("failure-modes", tables)
    assert verdicts["mode-hallucination"].value == "inconclusive"
    assert "not run" in verdicts["mode-hallucination"].text


def test_a_student_that_solved_nothing_is_no_error(tmp_path):
    study = plan("failure-modes", scale="toy", seeds=1, assignments=[*ASSIGNMENTS, "controls=false"])
    students = [row for row in study.rows if isinstance(row.stage, Classify)]
    for row in study.rows:
        if row not in students:
            write_evaluation(tmp_path, row.stage, [[None] * 4] * 12)
    rows = write_evaluation(tmp_path, students[0].stage.before, [[None] * 4] * 12)
    for row in students:
        write_evaluation(tmp_path, row.stage.after, [[None] * 4] * 12)
        (tmp_path / row.stage.folder_name).mkdir()
        classify_failures(RuleJudge(), before=rows, after=rows, out=tmp_path / row.stage.folder_name, progress=silent)
    (table,) = measure(study, tmp_path)
    assert table.mean("Student", "toy-bm4", "solved") == 0
    assert {v.value for v in verdicts_of("failure-modes", [table]).values()} == {"inconclusive"}


def behaviour(tmp_path, texts):
    """Measure the failure modes of a world whose models write these texts: row -> (text, answer, tokens, stop)."""
    study = plan("failure-modes", scale="toy", seeds=1, assignments=[*ASSIGNMENTS, "controls=false"])
    students = [row for row in study.rows if isinstance(row.stage, Classify)]
    stages = {row.method: row.stage for row in study.rows if row not in students}
    stages |= {"Student": students[0].stage.before} | {row.method: row.stage.after for row in students}
    for label, stage in stages.items():
        text, answer, ids, stop = texts.get(label, texts["else"])
        rows = []
        for item in ITEMS:
            for sample in range(4):
                stated = item.key if answer == "right" else answer
                rollout = Rollout(item.id, item.task, item.prompt, sample, [1], ids, [0.0] * len(ids), text, stop)
                rows.append(Graded(rollout, item.key, stated, float(stated == item.key)))
        folder = tmp_path / stage.folder_name
        folder.mkdir(exist_ok=True)
        write_graded(folder / ROLLOUTS, [rows])
    for row in students:
        before, after = (tmp_path / s.folder_name / ROLLOUTS for s in (row.stage.before, row.stage.after))
        folder = tmp_path / row.stage.folder_name
        folder.mkdir(exist_ok=True)
        classify_failures(RuleJudge(), before=before, after=after, out=folder, progress=silent)
    (table,) = measure(study, tmp_path)
    return table, verdicts_of("failure-modes", [table])


PLAIN = ("so it is", "right", [4, 5, 6, 7, 2], "eos")
CHECKS = ("so it is. Wait, let me verify. Yes,", "right", [4, 5, 6, 7, 2], "eos")
LOOP = [4, 5] * 8


def test_a_teacher_that_checks_itself_more(tmp_path):
    table, verdicts = behaviour(tmp_path, {"else": PLAIN, "Undistillable": CHECKS})
    assert table.mean("Undistillable", "toy-bm4", "rechecking") == 1
    assert table.mean("Teacher", "toy-bm4", "rechecking") == 0
    assert verdicts["undistillable-checks-itself-more"].value == "reproduced"


def test_a_teacher_that_checks_itself_less(tmp_path):
    _, verdicts = behaviour(tmp_path, {"else": PLAIN, "Teacher": CHECKS})
    assert verdicts["undistillable-checks-itself-more"].value == "contradicted"


def test_where_no_model_knows_a_recheck_phrase_the_claim_has_nothing_to_go_by(tmp_path):
    _, verdicts = behaviour(tmp_path, {"else": PLAIN})
    assert verdicts["undistillable-checks-itself-more"].value == "inconclusive"
    assert "has no measurement of re-checking" in verdicts["undistillable-checks-itself-more"].text


@pytest.mark.parametrize(
    ("misled", "recovers", "commits"),
    [
        (("loop loop", None, LOOP, "length"), False, "reproduced"),
        (("loop, then 5", "5", [*LOOP, 2], "eos"), True, "inconclusive"),
    ],
)
def test_repetition_and_what_follows_it(tmp_path, misled, recovers, commits):
    table, verdicts = behaviour(tmp_path, {"else": PLAIN, "Misled": misled})
    assert table.mean("Misled", "toy-bm4", "repetition_recovery") == recovers
    assert not table.has("Student", "toy-bm4", "repetition_recovery")  # it never repeats
    assert verdicts["repetition-rarely-recovers"].value == ("contradicted" if recovers else "inconclusive")
    assert verdicts["misled-commits-less"].value == commits


@pytest.mark.parametrize(("rate", "value"), [(0.02, "reproduced"), (0.3, "contradicted")])
def test_a_recovery_is_rare_below_one_in_ten(rate, value):
    table = MeasuredTable("failure-modes", "toy", "qwen3", (0, 1, 2))
    values = np.random.default_rng(0).binomial(16, rate, (3, 150)) / 16
    table.add("Misled", "toy-bm4", "repetition_recovery", [str(n) for n in range(150)], values, np.full((3, 150), 16.0))
    assert verdicts_of("failure-modes", [table])["repetition-rarely-recovers"].value == value


def test_a_misled_student_that_answers_more_often(tmp_path):
    _, verdicts = behaviour(tmp_path, {"else": PLAIN, "Student": ("on and on", None, [4, 5, 6, 7], "length")})
    assert verdicts["misled-commits-less"].value == "contradicted"


@pytest.mark.parametrize(("knowledge", "mathematics", "value"), [(0.8, 0.3, "reproduced"), (0.3, 0.8, "contradicted")])
def test_modes_by_kind_of_task(knowledge, mathematics, value):
    table = MeasuredTable("failure-modes", "toy", "qwen3", (0, 1, 2))
    rng = np.random.default_rng(0)
    for task, share in (("toy-csqa", knowledge), ("toy-bm4", mathematics)):
        ids = [f"{task}-{n}" for n in range(100)]
        for mode, rate in (("hallucination", share), ("self_correction", 1 - share)):
            table.add("Misled", task, mode, ids, rng.binomial(16, rate, (3, 100)) / 16, np.ones((3, 100)))
    verdicts = verdicts_of("failure-modes", [table])
    assert verdicts["hallucination-most-in-knowledge-qa"].value == value
    assert verdicts["self-correction-most-in-reasoning"].value == value


def prefixes(tmp_path, share, alone=(1.0, 1.0), misled=BAD, recheck=None, student=0.0):
    """Write continuations. share: of those of an arbitrary beginning that teachers end right in; alone: of either half
    without a prefix; recheck: of those before a re-check (None: no completion has one); student: that the misled student
    ends right in, of either prefix."""
    study = plan("figure4", scale="toy", seeds=1, assignments=ASSIGNMENTS)
    for row in study.rows:
        assert isinstance(row.stage, Continue)
        write_evaluation(tmp_path, row.stage.before, [GOOD] * 10 + [BAD] * 2)
        write_evaluation(tmp_path, row.stage.after, [misled] * 12)
        lost = ITEMS[:10] if misled == BAD else []
        cuts = [("share", fraction) for fraction in (0.0, *row.stage.prefixes.fractions)]
        cuts += [("re-check", 0.6)] if recheck is not None else []
        rows = [
            {
                "task": item.task,
                "item_id": item.id,
                "source": 0,
                "cut": cut,
                "fraction": fraction,
                "prefix_tokens": 9,
                "prefix": "think",
                "committed": cut == "re-check",  # the answer is there: that is the point
                "text": "think",
                "answer": None,
                "correct": n % 5 < 5 * alone[n // 5]
                if not fraction
                else n < 10 * (student if row.method == "Misled" else recheck if cut == "re-check" else share),
            }
            for item in lost
            for cut, fraction in cuts
            for n in range(10)
        ]
        (tmp_path / row.stage.folder_name).mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), tmp_path / row.stage.folder_name / CONTINUATIONS_FILE)
    return study, measure(study, tmp_path)


def test_a_teacher_that_preserves_what_was_right_before_a_recheck(tmp_path):
    study, (table,) = prefixes(tmp_path, share=0.3, recheck=0.9)
    for model in ("Teacher", "Undistillable", "Eta0"):
        assert table.mean(model, "toy-bm4", "prefix_correct") == pytest.approx(0.9)
    assert table.mean("Teacher, arbitrary beginning", "toy-bm4", "prefix_correct") == pytest.approx(0.3)
    assert table.mean("Misled", "toy-bm4", "prefix_correct") == 0
    verdicts = verdicts_of("figure4", [table])
    assert verdicts["teacher-recovers-where-misled-fails"].value == "reproduced"
    assert "teacher-stays-correct-on-misled-prefixes" not in verdicts  # a printed magnitude: paper scale alone
    assert verdicts["arbitrary-beginnings-cost-little"].value == "contradicted"
    assert len(continued_prefixes(study, tmp_path)) == 4 * len(study.rows)


def test_a_teacher_that_flips_as_the_student_does(tmp_path):
    _, (table,) = prefixes(tmp_path, share=1.0, recheck=0.0, student=0.5)
    verdicts = verdicts_of("figure4", [table])
    assert verdicts["teacher-recovers-where-misled-fails"].value == "contradicted"
    assert verdicts["teacher-recovers-from-arbitrary-beginnings"].value == "reproduced"


def test_the_printed_share_is_of_prefixes_before_a_recheck(tmp_path):
    """It was held against the share of arbitrary beginnings, which the paper does not print."""
    (claim,) = [c for c in load_claims("figure4") if c.id == "teacher-stays-correct-on-misled-prefixes"]
    _, (table,) = prefixes(tmp_path, share=0.92, recheck=0.3)
    table.scale = "paper"
    assert verdict(table, load("figure4"), [claim], resamples=500).claims[0].estimate == pytest.approx(0.3)
    _, (table,) = prefixes(tmp_path, share=0.92)
    table.scale = "paper"
    judged = verdict(table, load("figure4"), [claim], resamples=500, missing="inconclusive").claims[0]
    assert judged.value == "inconclusive"
    assert "'Teacher' has no measurement of correct continuations" in judged.text


def test_a_teacher_that_recovers_from_arbitrary_beginnings(tmp_path):
    study, (table,) = prefixes(tmp_path, share=0.9)
    assert table.mean("Teacher, arbitrary beginning", "toy-bm4", "prefix_correct") == pytest.approx(0.9)
    assert table.mean("Teacher, 25% prefix", "toy-bm4", "prefix_correct") == pytest.approx(0.9)
    assert table.mean("Teacher, no prefix", "toy-bm4", "prefix_correct") == 1
    assert table.mean("Eta0, arbitrary beginning", "toy-bm4", "prefix_correct") == pytest.approx(0.9)
    assert table.mean("Misled, arbitrary beginning", "toy-bm4", "prefix_correct") == 0
    assert table.mean("Misled", "toy-bm4", "lost") == 1
    assert not table.has("Teacher", "toy-bm4", "prefix_correct")
    verdicts = verdicts_of("figure4", [table])
    assert verdicts["teacher-recovers-from-arbitrary-beginnings"].value == "reproduced"
    assert verdicts["teacher-recovers-where-misled-fails"].value == "inconclusive"
    assert len(continued_prefixes(study, tmp_path)) == 2 * len(study.rows)


def test_a_teacher_that_is_led_astray(tmp_path):
    _, (table,) = prefixes(tmp_path, share=0.3)
    verdicts = verdicts_of("figure4", [table])
    assert verdicts["arbitrary-beginnings-cost-little"].estimate == pytest.approx(-0.7)
    assert verdicts["arbitrary-beginnings-cost-little"].value == "contradicted"


def test_prompts_are_chosen_on_other_samples_than_they_are_measured_on(tmp_path):
    _, (table,) = prefixes(tmp_path, share=0.5, alone=(1.0, 0.4))
    assert table.mean("Teacher, no prefix", "toy-bm4", "prefix_correct") == pytest.approx(0.4)
    assert verdicts_of("figure4", [table])["arbitrary-beginnings-cost-little"].estimate == pytest.approx(0.1)


def test_prompts_that_the_teacher_cannot_solve_are_left_out(tmp_path):
    _, (table,) = prefixes(tmp_path, share=0.9, alone=(0.4, 1.0))
    assert not table.has("Teacher, arbitrary beginning", "toy-bm4", "prefix_correct")
    assert {v.value for v in verdicts_of("figure4", [table]).values()} == {"inconclusive"}


def test_nothing_lost_is_inconclusive(tmp_path):
    _, (table,) = prefixes(tmp_path, share=0.9, misled=GOOD)
    assert {v.value for v in verdicts_of("figure4", [table]).values()} == {"inconclusive"}
    assert table.mean("Misled", "toy-bm4", "lost") == 0


def gains(tmp_path, teacher, student_of_teacher, target, student_of_target):
    study = plan("figure1a", scale="toy", seeds=1, assignments=[*ASSIGNMENTS, "controls=false"])
    right = {
        "Student": 6,
        "toy:qwen3-teacher": teacher,
        "Student of toy:qwen3-teacher": student_of_teacher,
        "toy:qwen3-target": target,
        "Student of toy:qwen3-target": student_of_target,
    }
    for row in study.rows:
        n = right.get(row.method, 12)
        write_evaluation(tmp_path, row.stage, [GOOD] * n + [BAD] * (12 - n))
    return measure(study, tmp_path)


def test_gains_losses_and_shortfalls(tmp_path):
    (table,) = gains(tmp_path, teacher=12, student_of_teacher=3, target=4, student_of_target=7)
    assert table.mean("Student of toy:qwen3-teacher", "toy-bm4", "gain") == pytest.approx(-3 / 12)
    assert table.mean("Student of toy:qwen3-teacher", "toy-bm4", "loss_under_better_teacher") == pytest.approx(3 / 12)
    assert not table.has(
        "Student of toy:qwen3-target", "toy-bm4", "loss_under_better_teacher"
    )  # no better than its student
    assert table.mean("toy:qwen3-teacher over toy:qwen3-target", "toy-bm4", "shortfall") == pytest.approx(4 / 12)
    assert not [row for row, _, metric in table.values if metric == "shortfall" and "istillable" in row]
    verdicts = verdicts_of("figure1a", [table])
    assert verdicts["better-teacher-worse-student"].estimate == pytest.approx(3 / 12)


def test_where_the_better_teacher_is_better_nothing_is_reproduced(tmp_path):
    verdicts = verdicts_of(
        "figure1a", gains(tmp_path, teacher=12, student_of_teacher=11, target=4, student_of_target=5)
    )
    assert {v.value for v in verdicts.values()} <= {"contradicted", "inconclusive"}
    assert verdicts["more-capable-not-always-better"].estimate == pytest.approx(-6 / 12)


def test_chance_makes_no_teacher_more_capable(tmp_path):
    (table,) = gains(tmp_path, teacher=7, student_of_teacher=3, target=6, student_of_target=11)
    assert not [row for row, _, metric in table.values if metric in ("shortfall", "loss_under_better_teacher")]
    assert {v.value for v in verdicts_of("figure1a", [table]).values()} == {"inconclusive"}


def test_no_teacher_above_its_student_is_inconclusive(tmp_path):
    verdicts = verdicts_of("figure1a", gains(tmp_path, teacher=5, student_of_teacher=11, target=4, student_of_target=5))
    assert verdicts["better-teacher-worse-student"].value == "inconclusive"


def test_costs_follow_the_formulas(tmp_path):
    study = plan("table5", scale="toy", seeds=1, assignments=ASSIGNMENTS)
    seconds = {"calibrate": 48.0, "gkd-rkl": 72.0}
    for n, stage in enumerate(study.stages()):
        folder = tmp_path / stage.folder_name
        folder.mkdir()
        kind = stage.config.method if isinstance(stage, Distill) else stage.kind
        record = {
            "gpu_hours": 0.0,
            "seconds": seconds.get(kind, 3.6) + n / 100,
            "label": stage.label,
            "peak_memory_gib": 1.0,
        }
        (folder / "record.json").write_text(json.dumps(record))
        summary = {"completions": 100, "tokens": 900}
        if isinstance(stage, Evaluate):
            summary = {"toy-bm4": {"tokens": 400}}
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "history.jsonl").write_text("\n".join(json.dumps({"step": s, "length": 2.0}) for s in range(5)))
        if kind in ("calibrate", "sft", "gkd-fkl", "gkd-rkl"):
            from repro.toy.models import model_folder as toy

            (folder / "model").symlink_to(toy("toy:qwen3-student"))
    costs = study_costs(study, tmp_path)
    assert costs["unit"] == "core-hours"
    by_kind = {line["kind"]: line for line in costs["lines"] if "answer-only" not in line["label"]}
    assert by_kind["gkd-rkl"]["tokens"] == 5 * 2 * 128
    assert by_kind["calibrate"]["tokens"] == 5 * 2 * 16 * 16
    assert by_kind["sft"]["tokens"] == 200 * 128 * 9
    assert by_kind["evaluate"]["tokens"] == 400
    weights = load_file(toy("toy:qwen3-student") / "model.safetensors")
    size = sum(tensor.numel() for tensor in weights.values())  # the student's, by its own summary in every distillation
    assert by_kind["sft"]["flops"] == 6 * size * 200 * 128 * 9
    (table,) = measure(study, tmp_path)
    assert set(table.items) == {"pipeline"}
    assert table.items["pipeline"] == ("eta -1", "eta +0", "eta +1")
    (claim,) = verdicts_of("table5", [table]).values()
    assert claim.value == "reproduced"
    assert claim.estimate == pytest.approx((2 * 48 - 72) / 3600, rel=0.05)


def test_formulas_in_words_are_the_passes_that_are_counted():
    sizes = {"T": 8e9, "S": 1.7e9, "C": 0.6e9, "N": 8e9, "D": 1}
    for procedure, formula in FORMULAS.items():
        expression = re.sub(r"(?<=[\dTSCND)]) (?=[TSCND(])", " * ", formula.split(":")[0])
        small = sizes["C" if procedure == "calibrate" else "S"]
        assert flops_per_token(procedure, 8e9, small) == eval(expression, dict(sizes))


def test_a_size_that_no_name_states_is_unknown(tmp_path):
    assert named_parameters("Qwen/Qwen3-8B") == 8e9
    assert named_parameters("google/gemma-3-270m-it") == 270e6
    assert named_parameters("org/nameless") is None
    study = plan("table2", scale="paper", assignments=["families.qwen3.teacher=org/nameless"])
    flops = {
        stage.procedure: stage_flops_per_token(stage, tmp_path) for stage in study.stages() if not any(stage.inputs())
    }
    assert flops["sample"] is None
    assert flops["calibrate"] is None


def without(study, *rows):
    return replace(study, rows=tuple(row for row in study.rows if row.method not in rows))


def test_numbers_that_need_a_row_which_failed_are_left_out(tmp_path):
    study, _ = prefixes(tmp_path, share=0.5, recheck=0.7)
    (table,) = measure(without(study, "Teacher"), tmp_path)
    assert table.has("Misled", "toy-bm4", "prefix_correct")
    assert not [row for row in table.rows if row.startswith("Misled, ")]  # over the teacher's prompts


def test_gains_over_a_student_that_failed_are_left_out(tmp_path):
    gains(tmp_path, teacher=12, student_of_teacher=3, target=4, student_of_target=7)
    study = plan("figure1a", scale="toy", seeds=1, assignments=[*ASSIGNMENTS, "controls=false"])
    (table,) = measure(without(study, "Student"), tmp_path)
    assert {metric for _, _, metric in table.values} == {"acc"}
    (table,) = measure(without(study, "toy:qwen3-teacher"), tmp_path)
    assert table.has("Student of toy:qwen3-teacher", "toy-bm4", "acc")
    assert not table.has("Student of toy:qwen3-teacher", "toy-bm4", "gain")
    assert table.has("Student of toy:qwen3-target", "toy-bm4", "gain")


def test_failure_modes_without_a_student_are_those_of_teachers(failures, tmp_path):
    study, _ = failures([BAD] * 8 + [GOOD] * 4)
    students = [row.method for row in study.rows if isinstance(row.stage, Classify)]
    (table,) = measure(without(study, *students), tmp_path)
    assert set(table.rows) == {row.method for row in study.rows} - set(students)
