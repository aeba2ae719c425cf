"""Table 2 of the small scale, rehearsed from plan to page: models and rows come from a hub that has no weights."""

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
from repro.report.rerun import rerun_command
from repro.report.result import read_result
from repro.workflow.rehearsal import FEW, TOKENS

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1800)]

MODELS = {"Qwen/Qwen3-1.7B": "teacher", "Qwen/Qwen3-0.6B": "student"}


@pytest.fixture
def root(tmp_path):
    """What the hub serves: configurations and tokenizers of the small scale's pair, and rows in the hub's layout."""
    root = tmp_path / "hub"
    random_models.save_pair(tmp_path, tiny=True)
    for name, role in MODELS.items():
        (root / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / role).rename(root / "models" / name)
        (root / "models" / name / "model.safetensors").unlink()
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


def test_table_2_from_a_hub_to_the_page(root, tmp_path):
    command = [sys.executable, "-m", "repro.cli", "run", "table2", "--scale", "small", "--rehearse", "--out", "out"]
    command += ["--workers", "2"]
    with hub(root) as (address, _):
        environment = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
        environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "rehearsed: " in ran.stdout
    assert "Numbers of a rehearsal mean nothing" in ran.stdout
    (folder,) = (tmp_path / "out" / "rehearsal").glob("table2-small-*")
    result = read_result(folder)
    assert result["rehearsal"] is True
    assert rerun_command(result).endswith("--scale small --seeds 1 --family qwen3 --rehearse")
    assert {stage["kind"] for stage in result["stages"]} == {
        "calibrate",
        "evaluate",
        "gkd-fkl",
        "gkd-rkl",
        "sample",
        "sft",
    }
    planned = plan("table2", scale="small", seeds=1, assignments=("engine=transformers", *FEW))
    assert {row["method"] for row in result["rows"]} == {row.method for row in planned.rows}
    page = (folder / "report.md").read_text()
    assert "(rehearsal)" in page.splitlines()[0]
    assert "- A rehearsal: every model is a miniature" in page
    assert max(line["tokens"] for line in result["styles"]) < TOKENS  # miniatures end their completions
    assert sorted(file.name.rpartition("-")[0] for file in (tmp_path / "out" / "rehearsal" / "models").iterdir()) == [
        "Qwen--Qwen3-0.6B",
        "Qwen--Qwen3-1.7B",
    ]
