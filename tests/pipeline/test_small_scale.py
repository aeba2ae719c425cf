"""Table 2 of the small scale from plan to verdict, its models and rows fetched from a hub: tiny models under the real ids."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import random_models
from hub_stand_in import hub

from repro.recipes.catalog import plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MODELS = {"Qwen/Qwen3-1.7B": "teacher", "Qwen/Qwen3-0.6B": "student"}
METHODS = ("sft", "gkd_fkl", "gkd_rkl")
TINY = (
    "engine=transformers",
    "controls=false",
    "train_items=24",
    "test_items=6",
    "calibration.steps=2",
    "calibration.prompts_per_step=4",
    "calibration.group_size=4",
    "calibration.max_completion_tokens=16",
    "teacher_sampling.completions_per_prompt=2",
    "teacher_sampling.max_completion_tokens=16",
    "evaluation.completions_per_prompt=4",
    "evaluation.max_completion_tokens=16",
    *(f"{m}.{s}" for m in METHODS for s in ("steps=2", "sequences_per_step=8", "max_completion_tokens=16")),
)
RUN = """
import json, sys
from pathlib import Path
from rich.console import Console
from repro.pipeline.cluster import Execution
from repro.planner.resources import resources_for
from repro.recipes.catalog import plan
from repro.workflow.study import run_study

study = plan("table2", scale="small", seeds=1, assignments=json.loads(sys.argv[2]))
out, console = Path(sys.argv[1]), Console(quiet=True)
print(run_study(study, out, Execution(resources_for("small"), workers=2), console=console, quiet=True).folder)
"""


@pytest.fixture
def root(tmp_path):
    """What the hub serves: the pair of the small scale with two layers each, and rows in the hub's layout."""
    root = tmp_path / "hub"
    random_models.save_pair(tmp_path, tiny=True)
    for name, role in MODELS.items():
        (root / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / role).rename(root / "models" / name)
    sums = [
        {"question": f"What is {n} + {n + 1}?", "answer": f"It is {2 * n + 1}.\\n#### {2 * n + 1}"} for n in range(60)
    ]
    _save(root, "openai/gsm8k", "main", "main", {"train": sums[:50], "test": sums[50:]})
    choices = {"label": list("ABCDE"), "text": ["one", "two", "three", "four", "five"]}
    questions = [
        {"id": f"q{n}", "question": f"How many are {n}?", "choices": choices, "answerKey": "ABCDE"[n % 5]}
        for n in range(60)
    ]
    splits = {"train": questions[:50], "validation": questions[50:]}
    _save(root, "tau/commonsense_qa", "default", "data", splits)
    return root


def _save(root: Path, name: str, config: str, folder: str, splits: dict[str, list[dict]]) -> None:
    repository = root / "datasets" / name
    (repository / folder).mkdir(parents=True)
    lines = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(rows), repository / folder / f"{split}-00000-of-00001.parquet")
        lines += [f"  - split: {split}", f"    path: {folder}/{split}-*"]
    (repository / "README.md").write_text("\n".join([*lines, "---", ""]))


def test_table_2_from_a_hub_to_the_verdict(root, tmp_path):
    out = tmp_path / "out"
    with hub(root) as (address, asked):
        environment = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
        environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        ran = subprocess.run(
            [sys.executable, "-c", RUN, str(out), json.dumps(TINY)], env=environment, capture_output=True, text=True
        )
    assert ran.returncode == 0, ran.stderr[-2000:]
    result = json.loads((Path(ran.stdout.split()[-1]) / "results.json").read_text())
    study = plan("table2", scale="small", seeds=1, assignments=TINY)
    assert {row["method"] for row in result["rows"]} == {row.method for row in study.rows}
    assert result["scale"] == "small"
    assert set(MODELS) <= set(result["unpinned"])
    kinds = {stage["kind"] for stage in result["stages"]}
    assert kinds == {"calibrate", "evaluate", "sample", "sft", "gkd-fkl", "gkd-rkl"}
    for name in MODELS:
        assert [path for path in asked if path.startswith(f"/{name}/resolve/") and path.endswith("model.safetensors")]
