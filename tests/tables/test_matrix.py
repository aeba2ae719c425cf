"""The matrix of guards and attacks from artifacts: gains over the student without a teacher, and what is idle has none."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from repro.evaluation.graded import Graded, write_graded
from repro.generation.rollouts import Rollout, RowGroupWriter
from repro.generation.scores import SCORES
from repro.recipes.labels import moved, read_by_target, teacher_under, under
from repro.recipes.study import Row
from repro.report.matrix import broken_by, gain_cells, teacher_losses, tried_by, worst_of
from repro.stages import TaskData
from repro.stages.artifact import ROLLOUTS
from repro.tables import MeasuredTable
from repro.tables.guard_metrics import GAIN, IDLE_FLOOR, MOVED, READABLE, is_idle
from repro.tables.measurements.matrix import add_matrix
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import why_untested

ITEMS = [f"item{n:02}" for n in range(40)]
SAMPLES = 4


@dataclass(frozen=True)
class StandIn:
    """What the measurement reads of a stage."""

    folder_name: str
    kind: str
    samples_per_prompt: int = SAMPLES
    data: tuple[TaskData, ...] = (TaskData(task="toy-bm4", split="test", n=40, seed=0),)


def side(label: str) -> dict[str, str]:
    return {"label": label, "formula": "", "source": "", "shows_or_needs": ""}


MATRIX = {"guards": [side("none"), side("wall"), side("paint")], "attacks": [side("sft"), side("sly")]}
RATES = {
    "Student": 0.4,
    "no-teacher": 0.45,
    teacher_under("none"): 0.95,
    teacher_under("wall"): 0.94,
    teacher_under("paint"): 0.95,
    under("sft", "none"): 0.75,
    under("sly", "none"): 0.7,
    under("sft", "wall"): 0.1,
    under("sly", "wall"): 0.72,
    under("sft", "paint"): 0.75,
}
DISTANCES = {teacher_under("wall"): 0.5, teacher_under("paint"): IDLE_FLOOR / 10, under("sly", "none"): IDLE_FLOOR / 10}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    rows_of: dict[str, list[Row]] = {}

    def add(label: str, kind: str, guard: str | None = None):
        stage = StandIn(f"{kind}-{len(rows_of)}", kind)
        (cache / stage.folder_name).mkdir()
        rows_of[label] = [Row("qwen3", label, 0, stage, guard=guard)]
        return cache / stage.folder_name

    for label, rate in RATES.items():
        guard = next((g for g in ("none", "wall", "paint") if label.endswith(f"under {g}")), None)
        right = rng.random((40, SAMPLES)) < rate
        graded = [
            Graded(
                Rollout(item, "toy-bm4", "p", k, [1], [5, 2], [-1.0, -1.0], "x", "eos"),
                "1",
                "1" if right[n, k] else "0",
                float(right[n, k]),
            )
            for n, item in enumerate(ITEMS)
            for k in range(SAMPLES)
        ]
        write_graded(add(label, "evaluate", guard) / ROLLOUTS, [graded])
        if label in ("Student", teacher_under("none")):
            names = [read_by_target(label)] if label != "Student" else []
        else:
            names = [moved(label), *([read_by_target(label)] if label.startswith("Teacher") else [])]
        for name in names:
            distance = DISTANCES.get(label, 0.2)
            scores = [
                {"task": "toy-bm4", "item_id": item, "sample": 0, "tokens": 2 + n % 3, "log_prob": -1.0 * (2 + n % 3)}
                | {"sampled_log_prob": (distance - 1.0) * (2 + n % 3)}
                for n, item in enumerate(ITEMS)
            ]
            with RowGroupWriter(add(name, "score-answers") / "scores.parquet", SCORES) as file:
                file.write(pa.Table.from_pylist(scores, schema=SCORES))
    table = MeasuredTable("guards", "toy", "qwen3", (0,), SAMPLES)
    add_matrix(table, rows_of, cache)
    return table


def test_a_gain_is_paired_with_the_student_without_a_teacher(table):
    label = under("sft", "none")
    values = [table.values[row, "toy-bm4", "acc"].values_SN for row in (label, "no-teacher")]
    assert np.array_equal(table.values[label, "toy-bm4", GAIN].values_SN, values[0] - values[1])
    assert table.mean("no-teacher", "toy-bm4", GAIN) == 0


def test_distances_are_nats_per_token(table):
    assert table.mean(under("sft", "wall"), "toy-bm4", MOVED) == pytest.approx(0.2)
    assert table.mean(teacher_under("wall"), "toy-bm4", MOVED) == pytest.approx(0.5)
    assert table.mean(teacher_under("none"), "toy-bm4", READABLE) == pytest.approx(1.0)


def test_what_is_idle_has_no_gain(table):
    assert is_idle(table, teacher_under("paint"))
    assert is_idle(table, under("sly", "none"))
    assert not is_idle(table, teacher_under("wall"))
    for label in (under("sft", "paint"), under("sly", "none")):
        assert not table.has(label, "toy-bm4", GAIN)
    assert table.has(under("sly", "wall"), "toy-bm4", GAIN)


def test_teachers_and_the_untouched_student_have_no_gain(table):
    assert not any(table.has(row, "toy-bm4", GAIN) for row in ("Student", teacher_under("none"), teacher_under("wall")))


def test_cells_scores_of_rows_and_columns(table):
    cells = gain_cells(table, MATRIX)
    assert set(cells) == {("none", "sft"), ("none", "sly"), ("wall", "sft"), ("wall", "sly"), ("paint", "sft")}
    assert cells["paint", "sft"].idle
    assert cells["none", "sly"].idle
    assert cells["wall", "sft"].value < 0 < cells["wall", "sly"].low
    assert worst_of("wall", cells) == cells["wall", "sly"]
    assert worst_of("paint", cells) is None
    assert broken_by("sly", cells) == 1
    assert broken_by("sft", cells) == 0  # the open teacher does not count, nor an idle guard
    assert tried_by("sft", cells) == tried_by("sly", cells) == 1
    loss = teacher_losses(table, ["none", "wall"])
    assert set(loss) == {"wall"}
    expected = table.mean(teacher_under("wall"), "toy-bm4", "acc") - table.mean(teacher_under("none"), "toy-bm4", "acc")
    assert loss["wall"].value == pytest.approx(expected)


def test_a_claim_over_an_idle_cell_is_not_tested(table):
    from repro.printed.load import load, load_claims

    named = [claim for claim in load_claims("guards") if claim.id == "guards-own-answers-break-knob"]
    changed = [
        claim.model_copy(
            update={
                "left": claim.left.model_copy(update={"row": under("sly", "wall")}),
                "right": (claim.right[0].model_copy(update={"row": right}),),
            }
        )
        for claim in named
        for right in (under("sft", "none"), under("sft", "paint"))
    ]
    reports = [verdict(table, load("guards"), [claim], resamples=500, missing="inconclusive") for claim in changed]
    assert reports[0].claims[0].estimate is not None
    (idle,) = reports[1].claims
    assert (idle.value, idle.estimate, why_untested(idle)) == ("not testable", None, "idle")
    assert idle.text.startswith(f"not testable: idle, {under('sft', 'paint')}: ")
    assert reports[1].skipped == ()
