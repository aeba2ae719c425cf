import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import qwen_tokenizer, save_qwen
from transformers import AutoModelForCausalLM

from repro.distillation.weighing import WEIGHTS
from repro.generation.rollouts import Rollout, RowGroupWriter, write_rollouts

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Off-policy the same loss and gradient norm; on-policy each process samples a share of the prompts.

    With the models sharded over the two, all figures are the same, also from a sharded checkpoint; the saved model is
    not sharded.
    """
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
    with RowGroupWriter(tmp_path / "weights.parquet", WEIGHTS) as file:
        table = [{"weight": 0.25 * (1 + n % 7)} for n in range(len(rollouts))]
        file.write(pa.Table.from_pylist(table, schema=WEIGHTS))
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    script = str(Path(__file__).with_name("two_ranks.py"))
    for ranks, shard in ((1, []), (2, []), (2, ["shard"])):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        subprocess.run(
            [*launch, script, str(tmp_path), str(tmp_path), str(stored), *shard],
            check=True,
            env=environment,
        )
    single, two, sharded = (json.loads((tmp_path / f"rows-{n}.json").read_text()) for n in ("1", "2", "2-sharded"))
    for method in ("sft", "reweighted", "output-layer", "gkd-fkl"):
        for row, two_row in zip(single[method], two[method], strict=True):
            assert two_row["loss"] == pytest.approx(row["loss"], rel=1e-4)
            assert two_row["grad_norm"] == pytest.approx(row["grad_norm"], rel=1e-3)
    for method in ("gkd-rkl", "calibrate"):
        assert [row["step"] for row in two[method]] == [1, 2]
        assert all(row["length"] > 0 for row in two[method])
    assert (tmp_path / "work-calibrate-2" / "checkpoint-2" / "complete.json").is_file()
    for method, rows in two.items():
        for row, sharded_row in zip(rows, sharded[method], strict=True):
            assert numbers(sharded_row) == pytest.approx(numbers(row), rel=1e-5, abs=1e-6, nan_ok=True)
        unsharded, saved = (weights(tmp_path / f"{method}-{n}" / "model") for n in ("2", "2-sharded"))
        again = weights(tmp_path / f"{method}-2-sharded-again" / "model")
        assert unsharded.keys() == saved.keys() == again.keys()
        for name, weight in unsharded.items():
            torch.testing.assert_close(saved[name], weight, atol=1e-6, rtol=1e-5)
            assert torch.equal(again[name], saved[name])
        AutoModelForCausalLM.from_pretrained(tmp_path / f"{method}-2-sharded" / "model")
    assert (tmp_path / "work-sft-2-sharded" / "checkpoint-2" / "pytorch_model_fsdp_0").is_dir()  # it was sharded


def numbers(row: dict[str, float | None]) -> dict[str, float]:
    """Replace missing figures by NaN."""
    return {name: math.nan if value is None else value for name, value in row.items()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")
