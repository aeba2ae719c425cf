"""Run by torchrun in the vLLM tests: calibration and GKD-RKL with vLLM on two processes, unsharded, sharded, with a server.

Options: shard, and last: server, followed by the names of its GPUs.
"""

import json
import sys
from pathlib import Path

from repro.calibration.config import CalibrationConfig
from repro.calibration.trainer import calibrate
from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.generation.server import ServerPlacement
from repro.progress import silent
from repro.tasks import Item
from repro.training.resources import TrainingResources


def main(base: Path, models: Path, method: str, options: list[str]) -> None:
    items = [Item(f"sum/{a}-{b}", "sum", f"{a} + {b} = ?", str(a + b)) for a in range(4) for b in range(4)]
    names = options[options.index("server") + 1 :] if "server" in options else []
    server = ServerPlacement(1, tuple(names)) if "server" in options else None
    resources = TrainingResources(micro_batch=2, shard="shard" in options, server=server)
    common = {"items": items, "seed": 0, "progress": silent, "resources": resources}
    common |= {"out": base / "out", "work": base / "work"}
    if method == "calibrate":
        settings = {"steps": 3, "prompts_per_step": 2, "group_size": 4, "learning_rate": 5e-2, "lora_rank": 2}
        settings |= {"lora_alpha": 4, "kl_beta": 0.001, "max_completion_tokens": 8, "loss_type": "dapo", "eta": -0.5}
        settings |= {"advantages": "group", "length_normalised": False, "engine": "vllm"}
        calibrate(
            CalibrationConfig.model_validate(settings),
            teacher=models / "teacher",
            target=models / "student",
            task_reward=lambda items, texts: [float(len(text) % 2) for text in texts],
            **common,  # type: ignore[arg-type]
        )
    else:
        settings = {"method": method, "steps": 3, "sequences_per_step": 8, "learning_rate": 1e-2, "traces": "full"}
        settings |= {"warmup_fraction": 0.0, "max_completion_tokens": 12, "engine": "vllm"}
        distill(
            DistillationConfig.model_validate(settings),
            student=models / "student",
            teacher=models / "teacher",
            completions=None,
            task_reward=lambda items, texts: [1.0] * len(texts),
            **common,  # type: ignore[arg-type]
        )
    json.loads((base / "out" / "history.jsonl").read_text().splitlines()[-1])  # it exists, and is complete


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
