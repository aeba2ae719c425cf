import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import qwen_tokenizer, save_qwen

from repro.generation.rollouts import Rollout, write_rollouts

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Off-policy the same loss and gradient norm; on-policy each process samples a share of the prompts."""
    for name, seed in (("teacher", 1), ("student", 2)):
        save_qwen(tmp_path / name, seed=seed)
    tokenizer = qwen_tokenizer()
    rollouts = []
    for a in range(4):
        for b in range(4):
            text = f"{'so ' * b}\\boxed{{{a + b}}}"
            ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
            rollouts.append(Rollout(f"sum/{a}-{b}", "sum", "", 0, [], ids, [0.0] * len(ids), text, "eos"))
    stored = tmp_path / "rollouts.parquet"
    write_rollouts(stored, rollouts)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    for ranks in (1, 2):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        script = str(Path(__file__).with_name("two_ranks.py"))
        subprocess.run(
            [*launch, script, str(tmp_path), str(tmp_path), str(stored)],
            check=True,
            env=environment,
            timeout=200,
        )
    one, two = (json.loads((tmp_path / f"found-{ranks}.json").read_text()) for ranks in (1, 2))
    for method in ("sft", "gkd-fkl"):
        for row, other in zip(one[method], two[method], strict=True):
            assert other["loss"] == pytest.approx(row["loss"], rel=1e-4)
            assert other["grad_norm"] == pytest.approx(row["grad_norm"], rel=1e-3)
    for method in ("gkd-rkl", "calibrate"):
        assert [row["step"] for row in two[method]] == [1, 2]
        assert all(row["length"] > 0 for row in two[method])
    assert (tmp_path / "work-calibrate-2" / "checkpoint-2" / "complete.json").is_file()
