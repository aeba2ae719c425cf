"""Verify without a model: a stored result (artifacts, numbers and verdicts), or an artifact and its ancestors."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import pydantic

from repro.errors import InputError
from repro.models.loading import is_toy_model, revision_of
from repro.printed.files import stored_hashes
from repro.recipes.labels import teacher_under, under
from repro.recipes.study import Row, Study
from repro.report.reload import judge_again
from repro.report.result import RESULTS_FILE, Result, read_result
from repro.stages import Stage, stage_adapter
from repro.stages.artifact import CACHE, MODEL, RECORD, is_complete
from repro.stages.model_origin import artifact_places, artifacts_behind, models_read
from repro.system.redaction import redact
from repro.tables.measurements.measure import measure
from repro.workflow.export_model import to_tuples
from repro.workflow.verify_artifact import Counts, Finding, is_close, verify_artifact


def verify_result(result: Path, cache: Path | None, counts: Counts) -> Iterator[Finding]:
    """Yield findings on what was and was not verified in a result.

    Args:
        result: its folder, or its results.json.
        cache: the artifacts' folder; None for the one beside the result.
        counts: is added to.

    Raises:
        InputError: there is no result, or it cannot be read.
    """
    content = read_result(result)
    folder = result.resolve().parent if result.is_file() else result.resolve()
    cache = cache or folder.parent / CACHE
    lines = {line["artifact"]: line for line in content["stages"]}
    present = [name for name in lines if is_complete(cache / name)]
    intact = set()
    for name in present:
        findings = list(verify_artifact(cache / name, lines[name].get("record_sha256"), counts))
        summary = _read_json(cache / name / "summary.json")
        if not is_close(redact(summary), lines[name]["summary"]):
            findings.append(Finding("bad", name, "its summary differs from the result's"))
        yield from findings
        if not any(finding.status == "bad" for finding in findings):
            intact.add(name)
    if present:
        status: Literal["ok", "bad"] = "ok" if len(intact) == len(present) else "bad"
        yield Finding(status, "artifacts", f"{len(intact)} of {len(present)} agree with their records, byte for byte")
    if missing := [name for name in lines if name not in present]:
        yield Finding("note", "artifacts", f"{len(missing)} of {len(lines)} are not in {cache}: not verified")
    if any("record_sha256" not in line for line in lines.values()):
        yield Finding(
            "note", "records", "not compared: an older version of the code made the result and stored no hashes of them"
        )
    yield from _verify_numbers(content, cache, intact)
    yield from _verify_verdicts(content)


def verify_chain(folder: Path, counts: Counts) -> Iterator[Finding]:
    """Yield findings on what was and was not verified in an artifact and everything it was made from.

    Args:
        folder: the artifact's folder.
        counts: is added to.
    """
    chain = artifacts_behind(folder)
    present = [artifact for artifact in chain if is_complete(artifact)]
    n_intact = 0
    for artifact in present:
        findings = [*verify_artifact(artifact, None, counts), *_verify_models(artifact)]
        yield from findings
        n_intact += not any(finding.status == "bad" for finding in findings)
    status: Literal["ok", "bad"] = "ok" if n_intact == len(present) else "bad"
    yield Finding(status, "artifacts", f"{n_intact} of {len(present)} agree with their records, byte for byte")
    if missing := [artifact for artifact in chain if artifact not in present]:
        names = ", ".join(map(str, missing))
        yield Finding("note", "artifacts", f"{len(missing)} of {len(chain)} are missing ({names}): not verified")


def _verify_models(artifact: Path) -> Iterator[Finding]:
    """Check that the local models an artifact was made from are unchanged.

    Hub and toy models have no folder: their identity is a revision, so there is nothing to compare.
    """
    record = _read_json(artifact / RECORD)
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        yield Finding("bad", artifact.name, f"{RECORD} does not say what it was made from")
        return
    identity = json.dumps(record.get("identity"))
    for model in models_read(record):
        name, revision = str(model["name"]), str(model.get("revision"))
        if revision not in identity:
            yield Finding("bad", artifact.name, f"its settings and its identity name different revisions of {name}")
            continue
        if is_toy_model(name) or not revision.startswith("sha256:"):
            continue
        places = [place / MODEL for place in artifact_places(name, artifact.parent)] or [Path(name)]
        folders = [place.resolve() for place in places if place.is_dir()]
        if not folders:
            yield Finding("note", artifact.name, f"the model {name} is missing: not compared")
            continue
        try:
            is_same = any(revision_of(str(folder)) == revision for folder in folders)
        except (InputError, OSError) as error:
            yield Finding("note", artifact.name, f"the model in {folders[0]} could not be compared ({error})")
        else:
            if not is_same:
                yield Finding(
                    "bad",
                    artifact.name,
                    f"the model in {folders[0]} differs from the one that the artifact was made from",
                )


def hash_result(result: Path) -> str:
    """Return the sha256 of a result's file or an artifact's record, for publications to state."""
    names = (RECORD, RESULTS_FILE)
    file = next((result / name for name in names if (result / name).is_file()), result)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _verify_numbers(content: Result, cache: Path, intact: set[str]) -> Iterator[Finding]:
    """Measure again from the artifacts and compare with the result's numbers."""
    needed = {row["artifact"] for row in content["rows"]}
    if not needed <= intact:
        yield Finding("note", "numbers", "not measured again: artifacts of its rows are missing or not intact")
        return
    try:
        study = _rebuild(content, cache)
        again = [table.to_dict() for table in measure(study, cache)]
    except (InputError, OSError, KeyError, TypeError, ValueError) as error:
        yield Finding("note", "numbers", f"could not be measured again by this version of the code ({error})")
        return
    families = [[table["family"] for table in tables] for tables in (again, content["measured"])]
    if families[0] != families[1]:
        text = f"its measured families are {', '.join(families[1])}, but its rows are of {', '.join(families[0])}"
        yield Finding("bad", "numbers", text)
        return
    cells, differing, unknown = 0, [], 0
    lacking: list[str] = []
    is_old = any("record_sha256" not in line for line in content["stages"])
    for new, old in zip(again, content["measured"], strict=True):
        measured = {(c["row"], c["task"], c["metric"]): c for c in new["cells"]}
        for cell in old["cells"]:
            key = cell["row"], cell["task"], cell["metric"]
            if is_old and key not in measured:  # needs a row's `of`, which older code did not store
                unknown += 1
                continue
            cells += 1
            if not is_close(cell, measured.get(key)) or old["items"][key[1]] != new["items"][key[1]]:
                differing.append(", ".join((old["family"], *key)))
        stored = {(c["row"], c["task"], c["metric"]) for c in old["cells"]}
        lacking += [", ".join((old["family"], *key)) for key in measured if key not in stored]
    if lacking:
        text = f"{len(lacking)} cells that the artifacts give are not in the result, for example {lacking[0]}"
        yield Finding("note", "numbers", text)
    if unknown:
        yield Finding(
            "note",
            "numbers",
            f"{unknown} cells could not be measured again: an older version of the code made the result",
        )
    if differing:
        text = f"{len(differing)} cells differ from what their artifacts give, for example {differing[0]}"
        yield Finding("bad", "numbers", text)
    else:
        yield Finding("ok", "numbers", f"{cells} cells measured again, all values as stored")


def _rebuild(content: Result, cache: Path) -> Study:
    """Rebuild the study with its stages as recorded."""
    rows = []
    guards = _guards_of(content)
    for line in content["rows"]:
        record = _read_json(cache / line["artifact"] / RECORD)
        try:
            stage = cast(Stage, stage_adapter.validate_python(to_tuples(record["config"])))
        except pydantic.ValidationError as error:
            raise ValueError(f"{line['artifact']}: {error.errors()[0]['msg']}") from None
        stage.__dict__["fingerprint"] = record["fingerprint"]  # from the code that made it
        facts = {key: line.get(key) for key in ("eta", "of")} | {"guard": line.get("guard", guards.get(line["method"]))}
        rows.append(Row(line["family"], line["method"], line["seed"], cast(Any, stage), **cast(Any, facts)))
    return Study(
        name=content["study"],
        scale=cast(Any, content["scale"]),
        tasks=tuple(content["tasks"]),
        seeds=tuple(content["seeds"]),
        rows=tuple(rows),
        settings=content["settings"],
        assignments=tuple(content["assignments"]),
    )


def _guards_of(content: Result) -> dict[str, str]:
    """Return label -> guard for each row of a matrix, for results of older code, in which rows do not name it."""
    sides = content.get("extras", {}).get("matrix")
    if sides is None:
        return {}
    guards = [side["label"] for side in sides["guards"]]
    students = {under(side["label"], guard): guard for side in sides["attacks"] for guard in guards}
    return students | {teacher_under(guard): guard for guard in guards}


def _verify_verdicts(content: Result) -> Iterator[Finding]:
    """Judge the stored numbers again and compare with the stored verdicts."""
    changed = sorted(name for name, sha256 in stored_hashes().items() if content["stored_files"].get(name) != sha256)
    _, report = judge_again(content)
    new = {(v["claim"], v["family"]): v for v in json.loads(json.dumps(report.to_dict()))["claims"]}
    old = {(v["claim"], v["family"]): cast(dict[str, Any], v) for v in content["verdicts"]["claims"]}
    keys = ("value", "estimate", "interval", "margin")
    differing = [
        f"{claim} ({family})"
        for claim, family in dict.fromkeys([*old, *new])
        if not is_close(*({k: v.get((claim, family), {}).get(k) for k in keys} for v in (old, new)))
    ]
    if not differing:
        yield Finding("ok", "verdicts", f"{len(old)} judged again, all as stored")
        return
    text = f"{len(differing)} of {len(old)} differ when judged again, for example {differing[0]}"
    if changed:
        yield Finding("note", "verdicts", f"{text}; {', '.join(changed)} changed since the result was made")
    else:
        yield Finding("bad", "verdicts", text)


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
