"""Names to pin: base images in the Dockerfile, actions in the workflows, and the studies' models and data sets."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

IMAGE_LINE = re.compile(r"^(?P<head>ARG \w*_IMAGE=)(?P<image>[^\s@]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$", re.M)
ACTION_LINE = re.compile(
    r"^(?P<head>[ \t-]*uses: )(?P<action>[\w.-]+/[\w./-]+)@(?P<ref>[\w./-]+)(?P<note>[ \t]+# (?P<tag>\S+))?[ \t]*$",
    re.M,
)


def images(root: Path) -> list[str]:
    """Return `name:tag` of every base image, without its digest."""
    return sorted({line["image"] for line in IMAGE_LINE.finditer((root / "Dockerfile").read_text())})


def workflows(root: Path) -> list[Path]:
    """Return the workflow files of a checkout."""
    return sorted((root / ".github" / "workflows").glob("*.yml"))


def tag_of(line: re.Match[str]) -> str:
    """Return the tag of a `uses:` line; if the line is pinned by commit, the tag is in its comment."""
    return line["tag"] if re.fullmatch(r"[0-9a-f]{40}", line["ref"]) and line["tag"] else line["ref"]


def actions(root: Path) -> list[str]:
    """Return `owner/name@tag` of every action, without its commit."""
    lines = (line for file in workflows(root) for line in ACTION_LINE.finditer(file.read_text()))
    return sorted({f"{line['action']}@{tag_of(line)}" for line in lines})


def hub_names() -> dict[str, str]:
    """Return the hub ids of all studies, each with its kind: "models", "datasets", or "github" (a data set that is a file in a repository)."""
    return dict(_hub_names())


@functools.cache
def _hub_names() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(set(_read_by_studies())))


def _read_by_studies() -> Iterator[tuple[str, str]]:
    from repro.recipes.catalog import STUDIES, plan
    from repro.recipes.study import SCALES
    from repro.stages.pins import hub_inputs

    for study in STUDIES:
        for scale in SCALES:
            yield from hub_inputs(plan(study, scale=scale, families=("all",), seeds=1).stages()).items()
