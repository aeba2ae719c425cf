"""Choose a study's result folder, so that no run replaces a judged result with other settings, seeds or families."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.endpoint import is_endpoint, parse_endpoint, without_addresses
from repro.recipes.catalog import plan
from repro.recipes.settings import flatten
from repro.recipes.study import Study
from repro.report.result import RESULTS_FILE
from repro.system.redaction import redact

_LONGEST_TEXT = 40
"""Maximum characters for settings in a folder's name; the appended hash distinguishes longer ones."""


def result_folder(study: Study, out: Path, name: str | None = None, suffix: str = "") -> Path:
    """Return the folder of a study's result.

    Default settings go to STUDY-SCALE, others to a folder named after what differs. An existing result is replaced only
    by one that covers all of its seeds and families; otherwise the new folder's name includes seeds and families.

    Args:
        name: the user's own folder name, used instead.
        suffix: appended to the folder's name, before seeds and families.

    Raises:
        InputError: the name is not a plain name, or the folder holds a result that this run must not replace.
    """
    check_name(name)
    folder = out / ((name or f"{study.name}-{study.scale}{_name_changes(study)}") + suffix)
    stored = _read_header(folder)
    if stored is None or _holds(study, stored):
        return folder
    if name is None and _difference(study, stored) is None:
        seeds = f"seed{study.seeds[0]}" + (f"to{study.seeds[-1]}" if len(study.seeds) > 1 else "")
        folder = folder.with_name("-".join([folder.name, *study.families, seeds]))
        stored = _read_header(folder)
        if stored is None or _holds(study, stored):
            return folder
    reason = _difference(study, stored) or f"its seeds are {stored['seeds']} and its families {stored['families']}"
    raise InputError(
        f"{folder}: holds a judged result that this run would replace ({reason}). Name another folder with --name."
    )


def check_name(name: str | None) -> None:
    """Refuse a name that is no folder's name, or the cache's.

    Raises:
        InputError: it is one of these.
    """
    if (name is not None and not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name)) or name == "cache":
        raise InputError(f"--name {name}: use letters, digits and - _ . + (a folder under --out, not cache)")


def _name_changes(study: Study) -> str:
    """Return the non-default settings as a suffix, e.g. "-eta0.3-1a2b3c"; empty if there are none."""
    default = plan(study.name, scale=study.scale, families=study.families, seeds=1).settings
    before, now = _comparable(default), _comparable(study.settings)
    changes = {key: value for key, value in now.items() if before.get(key) != value}
    if not changes:
        return ""
    if changes.get("eta_distillable") == -changes.get("eta_undistillable", 0):
        named = {"eta": changes["eta_distillable"]} | {k: v for k, v in changes.items() if "eta_" not in k}
    else:
        named = changes
    texts = dict.fromkeys(f"{key.rpartition('.')[2]}{_to_text(value)}" for key, value in named.items())
    text = re.sub(r"[^\w.+-]+", "_", "-".join(texts))[:_LONGEST_TEXT].rstrip("-_.")
    digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:6]
    return f"-{text}-{digest}"


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Flatten settings as stored in a result, without secrets and served models' addresses."""
    judge = settings.get("judge")
    name = {"judge": parse_endpoint(judge).model} if isinstance(judge, str) and is_endpoint(judge) else {}
    flat: dict[str, Any] = {"rows": [], **flatten(redact(settings | name))}
    if "matrix.guards" in flat:
        flat["matrix.guards"] = [without_addresses(guard) for guard in flat["matrix.guards"]]
    return flat


def _to_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(str(v["name"] if isinstance(v, dict) else v) for v in value)
    return str(value)


def _read_header(folder: Path) -> dict[str, Any] | None:
    """Return the stored result, or None if there is none that can be read."""
    try:
        content = json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
        header = {key: content[key] for key in ("study", "scale", "seeds", "families", "settings")}
        return header | {"rows": content.get("rows")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _holds(study: Study, stored: dict[str, Any]) -> bool:
    """True if a run of the study would cover everything in the stored result."""
    is_superset = set(stored["seeds"]) <= set(study.seeds) and set(stored["families"]) <= set(study.families)
    return is_superset and _difference(study, stored) is None


def _difference(study: Study, stored: dict[str, Any]) -> str | None:
    """Describe the first difference in study, scale or settings, or None.

    Settings known to only one of the two come from another version of the code and are not compared. Settings of the
    guard-attack matrix name rows that most studies lack: they count as different only if a stored row of these seeds
    and families would be lost.
    """
    for key, value in (("study", study.name), ("scale", study.scale)):
        if stored[key] != value:
            return f"its {key} is {stored[key]}"
    old, new = _comparable(stored["settings"]), _comparable(study.settings)
    has_its_rows = _has_rows(study, stored["rows"])
    compared = {key for key in old.keys() & new.keys() if not (has_its_rows and key.startswith("matrix."))}
    changed = next((key for key in sorted(compared) if old[key] != new[key]), None)
    return None if changed is None else f"its {changed} is {old[changed]}, here {new[changed]}"


def _has_rows(study: Study, stored: list[dict[str, Any]] | None) -> bool:
    """True if the study has all stored rows of its seeds and families; False if no rows are stored."""
    if stored is None:
        return False
    in_both = [row for row in stored if row["seed"] in study.seeds and row["family"] in study.families]
    return {row["artifact"] for row in in_both} <= {row.stage.folder_name for row in study.rows}
