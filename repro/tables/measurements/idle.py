"""Find rows whose calibrated teacher has not moved, from training histories."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.calibration.idle import find_idleness
from repro.recipes.study import Row
from repro.stages import Stage, topological_order
from repro.tables.row_facts import Idle

HISTORY, SUMMARY = "history.jsonl", "summary.json"


def idle_rows(rows_of: Mapping[str, Sequence[Row]], seeds: Sequence[int], cache: Path) -> Idle:
    """Return the rows that depend on a calibration that moved nothing: row -> task -> reason (or None) per seed.

    Args:
        rows_of: label -> rows; several stages per seed if there is one model per task.
        cache: the folder of artifacts.
    """
    known: dict[str, str | None] = {}
    reasons: dict[tuple[str, str], dict[int, str | None]] = {}
    for label, rows in rows_of.items():
        for row in rows:
            calibrations = [stage for stage in topological_order([row.stage]) if stage.rewards]
            for stage in calibrations:
                if stage.fingerprint not in known:
                    known[stage.fingerprint] = _idleness(stage, cache / stage.folder_name)
            reason = next((known[stage.fingerprint] for stage in calibrations if known[stage.fingerprint]), None)
            for data in row.stage.data:
                by_seed = reasons.setdefault((label, data.task), dict.fromkeys(seeds))
                by_seed[row.seed] = by_seed[row.seed] or reason
    idle: Idle = {}
    for (label, task), by_seed in reasons.items():
        if any(by_seed.values()):
            idle.setdefault(label, {})[task] = tuple(by_seed.values())
    return idle


def _idleness(stage: Stage, artifact: Path) -> str | None:
    history = [json.loads(line) for line in (artifact / HISTORY).read_text().splitlines()]
    summary = json.loads((artifact / SUMMARY).read_text())
    if not summary.get("matched", 1.0):
        reached, wanted = summary["match_reached"], summary["match_kl"]
        return f"the teacher's KL to its start is {reached:.2g} nats per token and should match {wanted:.2g}"
    return find_idleness(history, stage.rewards, summary.get("calibration_kl"))
