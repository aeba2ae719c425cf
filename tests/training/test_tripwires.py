"""Tripwires: each trips on its fault alone, and reaches summary, terminal and page."""

import io
import json
import shutil

import pytest
from rich.console import Console

from repro.distillation.traces import Trace, lost_ends, lost_ends_warning
from repro.models.loading import load_for_training, load_tokenizer, locate
from repro.pipeline.run import _print_warnings
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.stages.artifact import find_warnings
from repro.tasks.task import Item
from repro.training.tripwires import tripwires
from repro.workflow.own_models import StageOptions, distill_stage

CALM = {"length": 8.0, "stopped_by_length": 0.0, "repeated": 0.0, "entropy": 0.3}


def history(**last):
    """Forty steps, the second half with these figures."""
    return [CALM | {"step": n} | (last if n >= 20 else {}) for n in range(40)]


@pytest.mark.parametrize(
    ("last", "tripped"),
    [
        ({}, []),
        ({"length": 13.0, "stopped_by_length": 0.1, "repeated": 0.05, "entropy": 0.04}, []),
        ({"length": 20.0}, ["runaway length"]),
        ({"length": 4.0, "entropy": 0.06}, []),
        ({"stopped_by_length": 0.4}, ["lost ends"]),
        ({"repeated": 0.2}, ["repetition"]),
        ({"entropy": 0.01}, ["entropy collapse"]),
        ({"length": 24.0, "stopped_by_length": 1.0, "repeated": 0.9}, ["runaway length", "lost ends", "repetition"]),
        ({"length": None, "entropy": None}, []),
    ],
)
def test_each_wire_trips_on_its_fault(last, tripped):
    assert list(tripwires(history(**last), 24)) == tripped


def test_twice_a_short_length_is_no_runaway_far_below_the_cap():
    assert tripwires(history(length=20.0), 512) == {}


def test_methods_that_log_less_do_not_trip():
    assert tripwires([{"step": n, "loss": 1.0} for n in range(5)], 24) == {}
    assert tripwires([], 24) == {}


ITEMS = [Item(str(n), "t", f"{n}?", "1") for n in range(3)]


def test_traces_without_an_end_are_counted_by_trace_row_and_token():
    ended, cut = Trace(ITEMS[0], [5, 6, 2]), Trace(ITEMS[1], [5, 6, 7, 8, 9])
    counts = lost_ends([ended, cut, cut, Trace(ITEMS[2], [4, 3])], {2, 3})
    assert counts == {"traces_without_end": 1, "rows_without_end": 0.5, "tokens_without_end": 10 / 15}
    assert (
        "1 traces (50.0% of the training rows, 66.7% of their tokens)"
        in lost_ends_warning(counts, 5)["traces without end"]
    )
    assert lost_ends_warning(lost_ends([ended], {2, 3}), 5) == {}
    assert lost_ends_warning({"prompts": 3}, 5) == {}


def distilled(tmp_path, teacher, method, *settings):
    """The summary of a distillation of a few steps."""
    section = method.replace("-", "_")
    assignments = (f"{section}.steps=2", f"{section}.sequences_per_step=8", *(f"{section}.{s}" for s in settings))
    options = StageOptions(
        tasks=("toy-bm4",), items=8, assignments=(*assignments, "teacher_sampling.batch_sequences=64")
    )
    stage = distill_stage("toy:qwen3-student", teacher, method, options)
    for needed in [*stage.inputs(), stage]:
        assert run_stage(needed, tmp_path / "cache", Resources()) == {"built": True}
    return stage, json.loads((tmp_path / "cache" / stage.folder_name / "summary.json").read_text())


@pytest.mark.parametrize("method", ["sft", "gkd-fkl"])
def test_a_cap_that_cuts_the_ends_off_is_warned_of(tmp_path, method):
    _, summary = distilled(tmp_path, "toy:qwen3-teacher", method, "max_completion_tokens=3")
    assert 8 <= summary["traces_without_end"] <= 16  # some of the 16 rows are equal
    assert summary["rows_without_end"] == summary["tokens_without_end"] == 1.0
    assert "100.0% of the training rows, 100.0% of their tokens" in summary["warnings"]["traces without end"]


def test_traces_with_their_ends_are_not_warned_of(tmp_path):
    _, summary = distilled(tmp_path, "toy:qwen3-teacher", "sft")
    assert summary["traces_without_end"] == 0
    assert "warnings" not in summary


@pytest.fixture
def endless_teacher(tmp_path):
    """The toy teacher with a tenth of its end token's row, so that it hardly ever stops."""
    folder = shutil.copytree(locate("toy:qwen3-teacher"), tmp_path / "endless")
    model = load_for_training(folder)
    model.get_input_embeddings().weight.data[load_tokenizer(folder).eos_token_id] *= 0.1
    model.save_pretrained(folder)
    return str(folder)


def test_a_student_that_learns_not_to_stop_trips_a_wire(tmp_path, endless_teacher):
    stage, summary = distilled(
        tmp_path, endless_teacher, "gkd-rkl", "steps=25", "sequences_per_step=16", "learning_rate=3e-3"
    )
    assert "lost ends" in summary["warnings"]
    terminal = Console(file=io.StringIO(), width=300)
    _print_warnings([stage], tmp_path / "cache", terminal)
    assert "lost ends" in terminal.file.getvalue()


def test_all_warnings_of_a_summary_in_one_place():
    summary = {
        "warnings": {"repetition": "a"},
        "alarm": "b",
        "toy-bm4": {"undecided": 2},
        "skipped_rows": {"gsm8k": {"unreadable": 3}},
    }
    assert list(find_warnings(summary)) == ["repetition", "sampler", "undecided", "rows of gsm8k"]
    assert find_warnings({"steps": 3, "sampler": {"alarm": None}}) == {}
