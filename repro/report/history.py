"""The history of a study's results over time: one JSON line each, small enough to store in git and to plot."""

import json
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.report.result import Result, read_result
from repro.system.atomic_write import atomic_write
from repro.tables.statistics.decision import VERDICT_VALUES


def history_line(result: Result) -> dict[str, Any]:
    """Return a result's line in the history: what is worth comparing between nightly runs.

    Returns:
        made (UTC, ISO), study, scale, seeds, families, commit, dirty, gpus, torch, seconds and gpu_hours of all stages,
        counts of the verdicts on the paper's claims (premises and controls apart), and per claim and family its role,
        value, estimate and interval (the claim's own unit).
    """
    claims = [
        {key: claim.get(key) for key in ("claim", "family", "role", "value", "estimate", "interval")}
        for claim in result["verdicts"]["claims"]
    ]
    values = {
        role: [claim["value"] for claim in claims if claim["role"] == role] for role in ("claim", "premise", "control")
    }
    return {
        "made": result["made"],
        "study": result["study"],
        "scale": result["scale"],
        "seeds": len(result["seeds"]),
        "families": result["families"],
        "commit": result["code"]["commit"],
        "dirty": result["code"]["dirty"],
        "gpus": [gpu["name"] for gpu in result["hardware"]["gpus"]],
        "torch": result["libraries"].get("torch"),
        "seconds": round(sum(stage["seconds"] for stage in result["stages"]), 1),
        "gpu_hours": round(sum(stage["gpu_hours"] for stage in result["stages"]), 4),
        "counts": {value: values["claim"].count(value) for value in VERDICT_VALUES},
        "premises": {value: values["premise"].count(value) for value in VERDICT_VALUES},
        "controls": {value: values["control"].count(value) for value in VERDICT_VALUES},
        "claims": claims,
    }


def append_to_history(result: Path, into: Path) -> bool:
    """Append a result's line. A result that is in the history already is not added again.

    Returns:
        True if a line was added.

    Raises:
        InputError: there is no result, it is a rehearsal's, or the history is not one.
    """
    content = read_result(result)
    if content.get("rehearsal"):
        raise InputError(
            f"{result}: the result of a rehearsal, whose numbers mean nothing. Record a result of `repro run`."
        )
    line = history_line(content)
    lines = read_history(into) if into.exists() else []
    key = ("made", "study", "scale")
    if any(all(old.get(name) == line[name] for name in key) for old in lines):
        return False
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(into) as temporary:
            temporary.write_text("".join(json.dumps(old, allow_nan=False) + "\n" for old in [*lines, line]))
    except OSError as error:
        raise InputError(f"history {into}: {error.strerror}. Choose another file with --into.") from None
    return True


def read_history(file: Path) -> list[dict[str, Any]]:
    """Read all lines, oldest first.

    Raises:
        InputError: the file cannot be read, or a line of it is not a result's.
    """
    try:
        texts = file.read_text().splitlines()
    except OSError as error:
        raise InputError(f"history {file}: {error.strerror}.") from None
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
            line["made"], line["study"], line["claims"]
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"history {file}, line {number}: not a line that `repro record-history` wrote. Fix or remove it."
            ) from None
        lines.append(line)
    return sorted(lines, key=lambda line: str(line["made"]))
