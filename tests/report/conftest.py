"""Results of a small measured world, with completions that attack the page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from measured_world import build

from repro.evaluation.evaluate import summarise
from repro.evaluation.graded import Graded, write_graded
from repro.generation.rollouts import Rollout
from repro.printed.files import stored_hashes
from repro.printed.load import load
from repro.report.merge import Source, merge_sources
from repro.report.result import Result
from repro.tables import MeasuredTable
from repro.tables.verdicts.verdict import verdict

HOSTILE = (
    "</pre><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    " {{ 7 * 7 }} {% include 'x' %} \u202egnp.exe\u202c \x00\x1b[31m\x07 \ud800 שלום &lt;b&gt; ]]> <!-- \u2028 end"
)


def make_result(measured: MeasuredTable | None = None, **changes: Any) -> Result:
    """Make the content of a results.json; `changes` replace its keys."""
    table = measured if measured is not None else build(items=40)
    report = verdict(table, load(table.study), missing="inconclusive", resamples=500)
    content: dict[str, Any] = {
        "study": table.study,
        "scale": table.scale,
        "families": [table.family],
        "tasks": list(table.tasks),
        "seeds": list(table.seeds),
        "made": "2026-01-01T00:00:00+00:00",
        "settings": {
            "families": {table.family: {"teacher": "toy:teacher"}},
            "tasks": list(table.tasks),
            "train_items": 300,
            "evaluation": {"completions_per_prompt": 16},
        },
        "assignments": ["train_items=300"],
        "code": {"commit": "0" * 40, "dirty": False},
        "libraries": {"torch": "2.13.0", "numpy": "2.3.5"},
        "hardware": {"system": "Linux", "machine": "x86_64", "cpus": 2, "memory_gib": 8.0, "gpus": []},
        "stored_files": stored_hashes(),
        "verdicts": report.to_dict(),
        "measured": [table.to_dict()],
        "rows": [],
        "stages": [
            {
                "artifact": f"{kind}-{n}",
                "stage": stage,
                "kind": kind,
                "label": f"{kind} of something",
                "seconds": 10.0 + n,
                "gpu_hours": 0.0,
                "peak_memory_gib": 0.5,
                "started": "2026-01-01T00:00:00+00:00",
                "ended": "2026-01-01T00:00:10+00:00",
                "summary": {},
            }
            for n, (stage, kind) in enumerate(
                [("calibrate", "calibrate"), ("sample", "sample"), ("distill", "sft"), ("distill", "gkd-rkl")]
            )
        ],
        "examples": [
            {
                "family": table.family,
                "task": table.tasks[0],
                "item_id": "item-1",
                "prompt": HOSTILE,
                "key": "<b>6</b>",
                "completions": [
                    {"model": "Teacher", "text": HOSTILE, "score": 1.0, "stop": "eos"},
                    {"model": "Misled", "text": " \n", "score": 0.0, "stop": "length"},
                ],
            }
        ],
        "curves": [
            {
                "family": table.family,
                "method": method,
                "seed": seed,
                "stage": stage,
                "steps": [1, 2, 3],
                "figures": {name: [0.1, None, 0.3] for name in names},
            }
            for method, stage, names in (
                ("Improve", "distill", ("accuracy",)),
                ("Distillable", "calibrate", ("r_cal",)),
            )
            for seed in table.seeds
        ],
    }
    return json.loads(json.dumps({**content, **changes}))


def write_result(folder: Path, content: Any) -> Path:
    """Write the content as results.json of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def result() -> Result:
    return make_result()


@pytest.fixture(scope="session")
def part(result: Result):
    return merge_sources([Source("one", result)])[0]


KEYS = [str(n % 8) for n in range(64)]


def store_evaluation(
    folder,
    right,
    *,
    keys=KEYS,
    task="file-numeric",
    prompt="Question",
    instruction=None,
    model="org/student",
    tokens=64,
    first_item=0,
):
    """Store an evaluation of two completions per item; right(item) says how many of them are."""
    folder.mkdir(parents=True)
    graded = []
    for item, key in enumerate(keys):
        for sample in range(2):
            answer = key if sample < right(item) else "wrong"
            rollout = Rollout(
                str(first_item + item), task, f"{prompt} {item}", sample, [1], [5, 6], [0.0, 0.0], answer, "eos"
            )
            graded.append(Graded(rollout, key, answer, float(answer == key)))
    outcomes = write_graded(folder / "rollouts.parquet", [graded])
    numeric = [replace(outcome, task="file-numeric") for outcome in outcomes]
    summary = {task: summarise(numeric)["file-numeric"], "sampler": {"tokens": 3}}
    (folder / "summary.json").write_text(json.dumps(summary))
    record = {
        "stage": "evaluate",
        "label": f"evaluate {model}",
        "config": {
            "kind": "evaluate",
            "model": {"kind": "base", "name": model, "revision": "abc"},
            "data": [{"task": task, "instruction": instruction}],
            "config": {"temperature": 1.0, "max_completion_tokens": tokens},
            "seed": 0,
        },
        "grading": {"rules": 3},
    }
    (folder / "record.json").write_text(json.dumps(record))
    return folder
