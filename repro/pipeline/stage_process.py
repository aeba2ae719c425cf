"""The process of one stage on this machine: forked from a preloaded server, or a fresh interpreter.

`python -m repro.pipeline.stage_process FOLDER` runs the stage described there. With `--serve` after the folder, it
becomes the server, which runs stages on request (`system/fork_server.py`); the folder then only says whose server it
is.
"""

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from repro.pipeline.error_advice import root_cause
from repro.pipeline.run_stage import run_stage
from repro.planner.resources import Resources
from repro.stages import stage_adapter
from repro.system.atomic_write import write_json
from repro.system.fork_server import serve

ORDER, OUTCOME, OUTPUT = "order.json", "outcome.json", "output.log"
"""Files in the folder: what to run, its outcome, its output."""
MODULES = (
    "repro.calibration.trainer",
    "repro.diagnosis.diagnose",
    "repro.diagnosis.measure",
    "repro.distillation.distill",
    "repro.distillation.remedies.chosen_tokens",
    "repro.distillation.remedies.top_k",
    "repro.distillation.selection",
    "repro.evaluation.classify",
    "repro.evaluation.evaluate",
    "repro.evaluation.judge",
    "repro.evaluation.prefixes",
    "repro.evaluation.task_reward",
    "repro.evaluation.thoughts",
    "repro.generation.mismatch",
    "repro.generation.rollouts",
    "repro.generation.sample",
    "repro.generation.scores",
    "repro.generation.transformers_engine",
    "repro.guards.engine",
    "repro.guards.output_layer",
    "repro.guards.rewriters",
    "repro.guards.rewriting",
    "repro.guards.samplers",
    "repro.guards.served",
    "repro.pipeline.judging",
    "repro.tasks.toy",
    "transformers.models.gemma3.modeling_gemma3",
    "transformers.models.qwen3.modeling_qwen3",
    # lazily imported by these libraries
    "encodings.cp437",
    "encodings.unicode_escape",
    "multiprocessing.synchronize",
    "peft.utils.transformers_weight_conversion",
    "pyarrow.pandas_compat",
    "torch.profiler._cupti_monitor",
    "torch.utils.serialization.config",
)
"""Everything stages import while running: a module missing here is imported again by every stage."""


def run_order(order: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Run a stage in this process; return its outcome (from `run_stage`, or the error) and the error's traceback."""
    try:
        stage, resources = stage_adapter.validate_python(order["stage"]), Resources(**order["resources"])
        return run_stage(stage, Path(order["cache"]), resources, driver=order["driver"], argv=order["argv"]), ""
    except Exception as error:
        return {"stage_error": root_cause(error)}, traceback.format_exc()


def run_in(folder: Path) -> None:
    """Run the stage described in the folder and write its outcome there."""
    outcome, trace = run_order(json.loads((folder / ORDER).read_text()))
    print(trace, file=sys.stderr, end="", flush=True)
    write_json(folder / OUTCOME, outcome)


if __name__ == "__main__":
    if sys.argv[2:] == ["--serve"]:
        serve(MODULES, lambda order: run_in(Path(order["folder"])))
    run_in(Path(sys.argv[1]))
