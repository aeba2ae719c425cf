"""Summaries of single stages on the terminal: every figure that a stage logs or counts has words; nothing is lost."""

import json
import re
from collections.abc import Mapping

import pytest
from rich.console import Console

from repro.calibration.figures import HISTORY_NAMES as CALIBRATION
from repro.distillation.off_policy import HISTORY_NAMES as OFF_POLICY
from repro.distillation.on_policy import HISTORY_NAMES as ON_POLICY
from repro.distillation.sft import HISTORY_NAMES as SFT
from repro.guards.output_layer_trainer import HISTORY_NAMES as OUTPUT_LAYER
from repro.report.reload import show_result
from repro.report.stage_summary import LOGGED, describe_calibration, print_summary

EVALUATION = {
    "toy-bm4": {
        "acc": 0.595,
        "maj16": 0.9367,
        "unparsed": 0.0046,
        "items": 150,
        "completions_per_item": 16,
        "tokens": 32009,
    },
    "an-open-task": {"reward": 0.4, "items": 150, "completions_per_item": 16, "tokens": 1},
    "sampler": {"gap": 4e-07, "largest": 2e-06, "tokens": 63, "alarm": None},
}
TRAINING = {
    "steps": 20,
    "prompts": 320,
    "bf16_kept": None,
    "loss": 0.0393,
    "r_cal": -0.881,
    "learning_rate": 0.00015,
    "warnings": {"repetition": "[12 %] end in a loop"},
    "items": {"toy-bm4": 1750},
    "of_a_later_version": 7,
}


def printed(summary: Mapping) -> str:
    console = Console(width=120, record=True)
    print_summary(summary, console)
    return console.export_text()


@pytest.mark.parametrize("names", [CALIBRATION, OFF_POLICY, ON_POLICY, SFT, OUTPUT_LAYER])
def test_every_logged_figure_has_words(names: Mapping[str, str]) -> None:
    assert {*names.values()} - {"step"} <= {*LOGGED}


def test_an_evaluation_is_a_table_of_its_tasks() -> None:
    text = printed(EVALUATION)
    head, *rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip()]
    assert head == ["toy-bm4", "an-open-task"]
    assert ["accuracy", "0.595", "-"] in rows
    assert ["maj@16", "0.937", "-"] in rows
    assert ["reward", "-", "0.400"] in rows
    assert ["unparsed: no answer found, share", "0.005", "-"] in rows
    assert ["tokens in all", "32,009", "1"] in rows
    assert "sampler" not in text  # its check is silent unless it alarms


def test_a_training_has_its_counts_its_last_figures_and_its_warnings() -> None:
    text = printed(TRAINING)
    counts, figures = text.split("Means over the last tenth of the steps")
    assert re.search(r"optimizer steps +20 *\n", counts)
    assert re.search(r"of_a_later_version +7 *\n", counts)
    assert re.search(r"update that bfloat16 keeps, 1 for all +- *\n", counts)
    assert re.search(r"calibration reward r_cal, .* -0.881 *\n", figures)
    assert re.search(r"learning rate, after its decay +0.00015 *\n", figures)
    assert "Rows to draw from: toy-bm4 1,750\n" in text
    assert "repetition" not in text  # a run prints warnings itself


def test_a_calibration_says_how_its_rewards_moved() -> None:
    history = [{"step": n, "task_reward": 0.5 + n / 100, "r_cal": -float(n)} for n in range(1, 21)]
    line = "From the first tenth of the steps to the last: task reward 0.515 to 0.695, r_cal (nats) -1.500 to -19.500"
    assert describe_calibration(history) == line
    assert describe_calibration(history, eta=-0.5) == line
    assert (
        describe_calibration(history, eta=0.5)
        == f"{line}. Eta +0.5 rewards a higher r_cal, and it fell: see each step in history.jsonl"
    )
    assert describe_calibration(history[::-1], eta=-1).endswith(
        "Eta -1 rewards a lower r_cal, and it rose: see each step in history.jsonl"
    )
    assert describe_calibration([{"step": 1, "loss": 0.5}]) is None
    assert describe_calibration([]) is None


def test_the_lines_of_a_diagnosis_are_counted_and_groups_of_figures_printed() -> None:
    text = printed({"panel": [{"measure": "token_rkl"}] * 3, "asleep_gib": {"settled": 1.5, "last": 1.6}})
    assert "panel: 3 lines, in summary.json\n" in text
    assert 'asleep_gib: {"settled": 1.5, "last": 1.6}\n' in text


def test_a_loss_has_the_unit_of_its_training() -> None:
    assert "loss, nats per token" in printed({"steps": 1, "loss": 0.5})
    assert "loss, the objective of GRPO" in printed({"steps": 1, "loss": 0.5, "task_reward": 0.5})


def test_show_prints_the_warnings_of_a_stage(tmp_path) -> None:
    alarm = {"gap": 0.5, "largest": 1.0, "tokens": 3, "alarm": "too far"}
    (tmp_path / "summary.json").write_text(
        json.dumps({"completions": 3, "sampler": alarm, "warnings": {"loops": "12 %"}})
    )
    record = {"stage": "sample", "label": "sample a model", "seconds": 2.6, "ended": "today", "config": {"seed": 4}}
    (tmp_path / "record.json").write_text(json.dumps(record))
    console = Console(width=120, record=True)
    show_result(tmp_path, console)
    text = console.export_text()
    assert "sample a model (seed 4): 3 s, today" in text
    assert "too far" in text
    assert "warning: loops: 12 %" in text
