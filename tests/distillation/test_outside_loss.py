"""The loss of docs/extend.md, installed outside the tree, trains a step through a stage's own process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from outside_package import install

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extend.md").read_text()
ENTRY = re.search(r'\[project\.entry-points\."(repro\.losses)"\]\n([\w-]+) = "([\w:]+)"', PAGE)
SOURCE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    assert ENTRY is not None
    assert SOURCE is not None
    group, name, reference = ENTRY.groups()
    install(tmp_path / "site", reference.partition(":")[0], SOURCE[1], {group: {name: reference}}, "my-losses")
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def repro(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "repro.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def train(environment: dict[str, str], out: Path, loss: str) -> subprocess.CompletedProcess[str]:
    settings = (f"divergence={loss}", "steps=1", "sequences_per_step=4", "max_completion_tokens=8")
    sets = [part for setting in settings for part in ("--set", f"gkd_rkl.{setting}")]
    models = ("toy:qwen3-student", "--teacher", "toy:qwen3-teacher", "--method", "gkd-rkl")
    return repro(environment, "distill", *models, "--task", "toy-bm4", "--items", "4", "--out", str(out), "-q", *sets)


def test_the_page_writes_a_loss_in_under_40_lines() -> None:
    assert SOURCE is not None
    assert len(SOURCE[1].splitlines()) < 40


def test_an_installed_loss_is_listed_and_trains_a_step_in_its_process(
    environment: dict[str, str], tmp_path: Path
) -> None:
    listed = repro(environment, "list", "--losses")
    assert listed.returncode == 0
    assert (
        "skewed-rkl(alpha=0.1)\n    KL(p_S||m), m = alpha p_S + (1-alpha) p_T\n    DistiLLM 2402.03898 [my-losses]"
        in listed.stdout
    )
    refused = train(environment, tmp_path / "out", "skewed-rkl(alpha=1)")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: loss 'skewed-rkl': alpha = '1': must be less than 1")
    assert not (tmp_path / "out").exists()
    done = train(environment, tmp_path / "out", "skewed-rkl(alpha=0.2)")
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "out" / "cache").glob("distill-*/record.json")
    divergence = json.loads(record.read_text())["identity"]["config"]["divergence"]
    assert divergence.keys() == {"name", "alpha", "content"}
    assert (divergence["name"], divergence["alpha"]) == ("skewed-rkl", 0.2)
    assert re.fullmatch("[0-9a-f]{64}", divergence["content"])
    (row,) = (record.parent / "history.jsonl").read_text().splitlines()
    assert json.loads(row)["loss"] > 0


def test_another_content_is_another_stage(environment: dict[str, str], tmp_path: Path) -> None:
    """The identity is compared in fresh interpreters, as two installations would have it."""
    code = (
        "from repro.recipes.catalog import plan;"
        "print([s.folder_name for s in plan('figure1a', scale='toy', assignments=['gkd_rkl.divergence=skewed-rkl'])"
        ".stages() if s.kind == 'distill'][0])"
    )

    def name() -> str:
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    first = name()
    assert name() == first
    module = tmp_path / "site" / "my_losses.py"
    module.write_text(module.read_text().replace("Skewed reverse KL (DistiLLM)", "Skewed reverse KL"))
    assert name() != first
