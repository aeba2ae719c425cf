"""Several results as the parts of one page: seeds and families of one study and scale are joined and judged together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.endpoint import is_endpoint, parse_endpoint
from repro.recipes.settings import flatten
from repro.report.result import Result, measured_tables, read_result
from repro.tables import MeasuredTable, merge_seeds
from repro.tables.paper.files import stored_hashes
from repro.tables.paper.load import PaperTable, load
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import VerdictReport


@dataclass(frozen=True)
class Source:
    """One results.json. name: how the page and its errors call it."""

    name: str
    content: Result


@dataclass(frozen=True)
class Part:
    """What a page shows of one study at one scale: the sources, joined, and judged together."""

    sources: tuple[Source, ...]
    measured: tuple[MeasuredTable, ...]
    stored: PaperTable
    report: VerdictReport

    @property
    def name(self) -> str:
        """E.g. "Table 2 at toy scale"."""
        study = re.sub(r"^(table|figure)(\d)", lambda found: f"{found[1].title()} {found[2]}", self.report.study)
        return f"{study} at {self.report.scale} scale"

    @property
    def title(self) -> str:
        return f"{self.name}, {', '.join(self.report.families)}: {self.stored.title}"

    @property
    def settings(self) -> dict[str, Any]:
        """Of all sources: the same but for the families, which are joined."""
        families: dict[str, Any] = {}
        for source in self.sources:
            families |= source.content["settings"].get("families", {})
        return {**self.sources[0].content["settings"], "families": families}


def read_parts(paths: Sequence[Path]) -> list[Part]:
    """Read results and join what belongs together.

    Raises:
        InputError: a result is damaged, or two do not belong together; names the files and what differs.
    """
    return parts_of([Source(str(path), read_result(path)) for path in paths])


def parts_of(sources: Sequence[Source]) -> list[Part]:
    """Parts in the order in which their studies and scales first come.

    Families with the same seeds are judged together (one Holm correction); others of the same study apart.
    """
    groups: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        _check_header(source)
        groups.setdefault((source.content["study"], source.content["scale"]), []).append(source)
    parts = []
    for (study, _), group in groups.items():
        for one, other in combinations(group, 2):
            _check_settings(one, other)
            _check_no_copy(one, other)
        tables = _joined(group)
        try:
            stored = load(study)
        except InputError as error:
            raise InputError(f"{group[0].name}: {error}") from None
        for seeds in dict.fromkeys(table.seeds for table in tables):
            own = tuple(table for table in tables if table.seeds == seeds)
            families = {table.family for table in own}
            parts.append(
                Part(
                    sources=tuple(s for s in group if families & set(s.content["families"])),
                    measured=own,
                    stored=stored,
                    report=verdict(own, stored, missing="inconclusive"),
                )
            )
    return parts


def changed_rules(part: Part) -> list[str]:
    """What the stored files say now and did not when a result was made: files, margins, claims. Empty: nothing."""
    words = []
    hashes = stored_hashes()
    now = {(v.claim, v.family): v for v in part.report.claims}
    for source in part.sources:
        then = source.content["stored_files"]
        files = [name for name in sorted(set(then) | set(hashes)) if then.get(name) != hashes.get(name)]
        if files:
            words.append(f"paper_tables/ has changed since {source.name} was made: {', '.join(files)}")
        for old in source.content["verdicts"]["claims"]:
            name = f"{old['claim']} ({old['family']})"
            new = now.get((old["claim"], old["family"]))
            if new is None:
                words.append(f"{name}: judged when {source.name} was made, no longer among the stored claims")
            elif new.margin != old["margin"]:
                words.append(
                    f"{name}: the margin was {old['margin']:g} when {source.name} was made and is {new.margin:g} now;"
                    f" the verdict was {old['value']} and is {new.value}"
                )
    return words


def changed_verdicts(part: Part) -> list[str]:
    """Claims on which one result alone said something else than all of them together."""
    now = {(v.claim, v.family): v.value for v in part.report.claims}
    return [
        f"{old['claim']} ({old['family']}): {source.name} alone said {old['value']},"
        f" this page says {now[old['claim'], old['family']]}"
        for source in part.sources
        for old in source.content["verdicts"]["claims"]
        if now.get((old["claim"], old["family"]), old["value"]) != old["value"]
    ]


def _check_header(source: Source) -> None:
    """The measured numbers are of the study, scale, families and seeds that the head says."""
    content = source.content
    for n, table in enumerate(content["measured"]):
        for key in ("study", "scale", "seeds"):
            if table.get(key) != content[key]:
                raise InputError(
                    f"{source.name}: damaged: measured.{n}.{key} is {table.get(key)!r}, {key} is {content[key]!r}."
                    " Run the study again; cached stages are kept."
                )
    families = [table.get("family") for table in content["measured"]]
    if families != content["families"]:
        raise InputError(
            f"{source.name}: damaged: measured has families {families}, families is {content['families']}."
            " Run the study again; cached stages are kept."
        )


def _check_settings(first: Source, other: Source) -> None:
    one, two = _comparable(first.content, other.content), _comparable(other.content, first.content)
    for key in sorted(set(one) | set(two)):
        if one.get(key) != two.get(key):
            raise InputError(
                f"{first.name} and {other.name} do not belong together: setting {key} is {one.get(key)!r} and"
                f" {two.get(key)!r}. Report them apart, or run one again with the other's setting."
            )


def _check_no_copy(one: Source, other: Source) -> None:
    """A result under another seed's name would count its items twice."""
    mine, theirs = ({row["artifact"] for row in source.content["rows"]} for source in (one, other))
    if mine and mine == theirs and one.content["seeds"] != other.content["seeds"]:
        raise InputError(
            f"{one.name} and {other.name} do not belong together: seeds {one.content['seeds']} and"
            f" {other.content['seeds']}, but the same artifacts; one is a copy of the other."
        )


def _comparable(content: Result, other: Result) -> dict[str, Any]:
    """Flat settings, without the families that the other result lacks and where a served judge was."""
    theirs = other["settings"].get("families", {})
    settings = dict(content["settings"])
    settings["families"] = {name: f for name, f in settings.get("families", {}).items() if name in theirs}
    judge = settings.get("judge")
    if judge and is_endpoint(judge):
        settings["judge"] = f"{parse_endpoint(judge).model} (served)"
    return flatten(settings)


def _joined(group: Sequence[Source]) -> list[MeasuredTable]:
    """One table per family, its seeds in ascending order whatever the order of the sources."""
    found: dict[str, list[tuple[Source, MeasuredTable]]] = {}
    for source in group:
        try:
            tables = measured_tables(source.content)
        except InputError as error:
            raise InputError(f"{source.name}: {error}") from None
        for table in tables:
            for earlier, known in found.get(table.family, []):
                twice = sorted(set(known.seeds) & set(table.seeds))
                if twice:
                    raise InputError(
                        f"{earlier.name} and {source.name} do not belong together: both hold seed {twice[0]} of"
                        f" {table.study}, {table.family}. Give each seed once."
                    )
            found.setdefault(table.family, []).append((source, table))
    joined = []
    for own in found.values():
        own.sort(key=lambda one: one[1].seeds)
        try:
            joined.append(own[0][1] if len(own) == 1 else merge_seeds(table for _, table in own))
        except InputError as error:
            raise InputError(f"{' and '.join(source.name for source, _ in own)}: {error}") from None
    return joined
