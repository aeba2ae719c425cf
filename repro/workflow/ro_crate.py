"""Export a result as a Workflow Run RO-Crate: files with JSON-LD metadata on what ran, when, where, with what results.

Written as plain JSON-LD following RO-Crate 1.1, Workflow RO-Crate 1.0 and Workflow Run Crate 0.5 (with a Process Run
per stage): a crate is a single JSON file, for which the `rocrate` package would pull in five others.
"""

import hashlib
import mimetypes
import shutil
from pathlib import Path
from typing import Any

from repro.report.rerun import rerun_command
from repro.report.result import RESULTS_FILE, Result, read_result
from repro.system.atomic_write import write_json
from repro.workflow.new_folder import new_folder

METADATA_FILE = "ro-crate-metadata.json"
WORKFLOW_FILE = "run.sh"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}


def export_crate(result: Path, into: Path, license_text: str) -> Path:
    """Copy a result's files into a new folder with their command and the crate's metadata; return the metadata file.

    Args:
        result: its folder, or its results.json.
        license_text: the result's licence: an SPDX id, a URL, or a sentence.

    Raises:
        InputError: no such result, or the folder has content.
    """
    content = read_result(result)
    with new_folder(into):
        shutil.copytree(result.parent if result.is_file() else result, into, dirs_exist_ok=True)
        (into / WORKFLOW_FILE).write_text(f"#!/bin/sh\n{rerun_command(content)}\n", encoding="utf-8")
        files = [file for file in sorted(into.rglob("*")) if file.is_file()]
        write_json(into / METADATA_FILE, _metadata(content, into, files, license_text))
    return into / METADATA_FILE


def _metadata(content: Result, root: Path, files: list[Path], license_text: str) -> dict[str, Any]:
    names = [str(file.relative_to(root)) for file in files]
    stages = [_stage_action(line) for line in content["stages"]]
    commit = content["code"]["commit"]
    graph: list[dict[str, Any]] = [
        {
            "@id": METADATA_FILE,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [
                {"@id": "https://w3id.org/ro/crate/1.1"},
                {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
            ],
        },
        _root(content, names, stages, license_text),
        *(
            {"@id": profile, "@type": "CreativeWork", "name": name, "version": version}
            for profile, (name, version) in PROFILES.items()
        ),
        {
            "@id": WORKFLOW_FILE,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": f"repro run {content['study']}",
            "programmingLanguage": {"@id": "#sh"},
        },
        {
            "@id": "#sh",
            "@type": "ComputerLanguage",
            "name": "POSIX shell",
            "url": "https://pubs.opengroup.org/onlinepubs/9799919799/",
        },
        {
            "@id": "#repro",
            "@type": "SoftwareApplication",
            "name": "distillability-repro",
            "softwareVersion": content["libraries"].get("distillability-repro", "unknown")
            + (f" ({commit})" if commit else ""),
        },
        *(
            {"@id": f"#library-{name}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
            for name, version in content["libraries"].items()
        ),
        *_setting_entities(content),
        {
            "@id": "#run",
            "@type": "CreateAction",
            "name": rerun_command(content),
            "instrument": {"@id": WORKFLOW_FILE},
            "startTime": min((line["started"] for line in content["stages"]), default=content["made"]),
            "endTime": content["made"],
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
            "object": [{"@id": entity["@id"]} for entity in _setting_entities(content)],
            "result": [{"@id": name} for name in names if name != WORKFLOW_FILE],
        },
        *stages,
        *(_file_entity(file, name) for file, name in zip(files, names) if name != WORKFLOW_FILE),
    ]
    return {
        "@context": ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"],
        "@graph": graph,
    }


def _root(content: Result, names: list[str], stages: list[dict[str, Any]], license_text: str) -> dict[str, Any]:
    """Return the crate itself."""
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{content['study']} at {content['scale']} scale",
        "description": "A reproduction of Distillation Traps and Guards (arXiv:2604.18963): measured values and verdicts.",
        "datePublished": content["made"],
        "license": license_text,
        "conformsTo": [{"@id": profile} for profile in PROFILES],
        "hasPart": [{"@id": name} for name in names],
        "mainEntity": {"@id": WORKFLOW_FILE},
        "mentions": [{"@id": "#run"}, *({"@id": action["@id"]} for action in stages)],
    }


def _setting_entities(content: Result) -> list[dict[str, Any]]:
    """Return the values that the user chose."""
    facts = {
        "scale": content["scale"],
        "seeds": ", ".join(map(str, content["seeds"])),
        "families": ", ".join(content["families"]),
    }
    facts |= dict(text.split("=", 1) for text in content["assignments"] if "=" in text)
    return [
        {"@id": f"#setting-{key}", "@type": "PropertyValue", "name": key, "value": value}
        for key, value in facts.items()
    ]


def _stage_action(line: Any) -> dict[str, Any]:
    """Return the process run of one stage; the crate names its artifact but does not contain it (weights are large)."""
    return {
        "@id": f"#stage-{line['artifact']}",
        "@type": "CreateAction",
        "name": line["label"],
        "instrument": {"@id": "#repro"},
        "startTime": line["started"],
        "endTime": line["ended"],
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        "description": f"artifact {line['artifact']}, sha256 of its record: {line.get('record_sha256', 'not stored')}",
    }


def _file_entity(file: Path, name: str) -> dict[str, Any]:
    encoding = mimetypes.guess_type(name)[0]
    return {
        "@id": name,
        "@type": "File",
        "name": "measured values and verdicts" if name == RESULTS_FILE else name,
        "contentSize": str(file.stat().st_size),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        **({"encodingFormat": encoding} if encoding else {}),
    }
