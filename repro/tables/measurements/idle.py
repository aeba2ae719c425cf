"""Rows whose calibrated teacher has not moved, from the histories of its training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.calibration.idle import find_idleness
from repro.recipes.study import Row
from repro.stages import Stage, topological_order
from repro.tables.row_facts import Idle

HISTORY, SUMMARY = "history.jsonl", "summary.json"


def idle_rows(rows_of: Mapping[str, Sequence[Row]], seeds: Sequence[int], cache: Path) -> dict[str, Idle]:
    """Return the rows that rest on a calibration that moved nothing: row -> for each seed the reason, None if it moved.

    Args:
        rows_of: label -> its rows; of several stages for one seed (a model per task) any idle one makes it idle.
        cache: the artifacts.
    """
    known: dict[str, str | None] = {}
    idle: dict[str, Idle] = {}
    for label, rows in rows_of.items():
        reasons = dict.fromkeys(seeds)
        for row in rows:
            for stage in topological_order([row.stage]):
                if stage.rewards and stage.fingerprint not in known:
                    known[stage.fingerprint] = _idleness(stage, cache / stage.folder_name)
                reasons[row.seed] = reasons[row.seed] or known.get(stage.fingerprint)
        if any(reasons.values()):
            idle[label] = tuple(reasons.values())
    return idle


def _idleness(stage: Stage, artifact: Path) -> str | None:
    history = [json.loads(line) for line in (artifact / HISTORY).read_text().splitlines()]
    summary = json.loads((artifact / SUMMARY).read_text())
    if not summary.get("matched", 1.0):
        reached, wanted = summary["match_reached"], summary["match_kl"]
        return f"teacher not moved as far as its match, {reached:.2g} nats per token instead of {wanted:.2g}"
    return find_idleness(history, stage.rewards, summary.get("calibration_kl"))
