"""Several results on one page: seeds and families of one study and scale are joined and judged together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.endpoint import is_endpoint, parse_endpoint, without_addresses
from repro.printed.claims import Claim
from repro.printed.files import stored_hashes
from repro.printed.load import PaperTable, load
from repro.recipes.settings import flatten
from repro.recipes.studies import name_of
from repro.report.result import RUN_AGAIN, Result, measured_tables, own_claims, read_result
from repro.tables import MeasuredTable, merge_seeds
from repro.tables.own_claims import judged_claims, read_own_claims
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import VerdictReport


@dataclass(frozen=True)
class Source:
    """One results.json. name: its name on the page and in errors."""

    name: str
    content: Result


@dataclass(frozen=True)
class Part:
    """One study at one scale on a page: the sources, by seed, joined and judged together."""

    sources: tuple[Source, ...]
    measured: tuple[MeasuredTable, ...]
    stored: PaperTable
    report: VerdictReport

    @property
    def name(self) -> str:
        """Name of study and scale, e.g. "Table 2 at toy scale", "Failure modes at small scale (rehearsal)"."""
        return f"{name_of(self.report.study)} at {self.report.scale} scale{' (rehearsal)' if self.is_rehearsal else ''}"

    @property
    def is_rehearsal(self) -> bool:
        """True if its models are miniatures, so that its numbers mean nothing."""
        return any(source.content.get("rehearsal") for source in self.sources)

    @property
    def title(self) -> str:
        return f"{self.name}, {', '.join(self.report.families)}: {self.stored.title}"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of all sources: the same but for the families, which are joined."""
        families: dict[str, Any] = {}
        for source in self.sources:
            families |= source.content["settings"].get("families", {})
        return {**self.sources[0].content["settings"], "families": families}


def read_parts(paths: Sequence[Path], claims: Sequence[Path] = ()) -> list[Part]:
    """Read results and join what belongs together.

    Args:
        claims: files of further claims of the user's own, about the one study of the results.

    Raises:
        InputError: a result is damaged, two do not belong together, or claims are not of their study; names the files and
            what differs.
    """
    sources = [Source(str(path), read_result(path)) for path in paths]
    studies = list(dict.fromkeys(source.content["study"] for source in sources))
    if claims and len(studies) > 1:
        raise InputError(f"--claims: give results of one study; these are of {', '.join(studies)}.")
    return merge_sources(sources, read_own_claims(claims, studies[0]) if claims else ())


def merge_sources(sources: Sequence[Source], claims: Sequence[Claim] = ()) -> list[Part]:
    """Build the parts of a page, in the order in which studies and scales first appear.

    Families with the same seeds are judged together (one Holm correction); others of the same study separately.

    Args:
        claims: additional claims of the user's own, on top of those in the sources.
    """
    groups: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        _check_header(source)
        groups.setdefault((source.content["study"], source.content["scale"]), []).append(source)
    parts = []
    for (study, _), group in groups.items():
        _check_complete(group)
        for first, second in combinations(group, 2):
            _check_settings(first, second)
            _check_no_copy(first, second)
        tables = _joined(group)
        try:
            stored = load(study)
        except InputError as error:
            raise InputError(f"{group[0].name}: {error}") from None
        for seeds in dict.fromkeys(table.seeds for table in tables):
            measured = tuple(table for table in tables if table.seeds == seeds)
            families = {table.family for table in measured}
            parts.append(
                Part(
                    sources=tuple(
                        sorted(
                            (s for s in group if families & set(s.content["families"])),
                            key=lambda source: source.content["seeds"],
                        )
                    ),
                    measured=measured,
                    stored=stored,
                    report=verdict(
                        measured, stored, judged_claims(study, _own_claims(group, claims)), missing="inconclusive"
                    ),
                )
            )
    return parts


def _own_claims(group: Sequence[Source], further: Sequence[Claim]) -> list[Claim]:
    """Return the user's own claims from the sources plus additional ones, each id once."""
    claims = {claim.id: claim for source in group for claim in own_claims(source.content)}
    return list((claims | {claim.id: claim for claim in further}).values())


def changed_rules(part: Part) -> list[str]:
    """List the stored files, margins and claims that have changed since a result was made."""
    changes = []
    hashes = stored_hashes()
    verdicts = {(v.claim, v.family): v for v in part.report.claims}
    for source in part.sources:
        old_hashes = source.content["stored_files"]
        files = [name for name, sha256 in hashes.items() if old_hashes.get(name) != sha256]
        if files:
            changes.append(f"paper_tables/ has changed since {source.name} was made: {', '.join(files)}")
        for old in source.content["verdicts"]["claims"]:
            if old["family"] not in part.report.families:  # on another part of the page
                continue
            name = f"{old['claim']} ({old['family']})"
            new = verdicts.get((old["claim"], old["family"]))
            if new is None:
                changes.append(f"{name}: judged when {source.name} was made, no longer among the stored claims")
            elif new.margin != old["margin"]:
                changes.append(
                    f"{name}: the margin was {old['margin']:g} when {source.name} was made and is {new.margin:g} now;"
                    f" the verdict was {old['value']} and is {new.value}"
                )
    return changes


def changed_verdicts(part: Part) -> list[str]:
    """List the claims on which a single result and all results together disagree."""
    verdicts = {(v.claim, v.family): v.value for v in part.report.claims}
    return [
        f"{old['claim']} ({old['family']}): {source.name} alone said {old['value']},"
        f" this page says {verdicts[old['claim'], old['family']]}"
        for source in part.sources
        for old in source.content["verdicts"]["claims"]
        if verdicts.get((old["claim"], old["family"]), old["value"]) != old["value"]
    ]


def _check_header(source: Source) -> None:
    """Check that the measured tables match the study, scale, families and seeds in the header."""
    content = source.content
    for n, table in enumerate(content["measured"]):
        for key in ("study", "scale", "seeds"):
            if table.get(key) != content[key]:
                raise InputError(
                    f"{source.name}: damaged: measured.{n}.{key} is {table.get(key)!r}, {key} is {content[key]!r}."
                    f" {RUN_AGAIN}"
                )
    families = [table.get("family") for table in content["measured"]]
    if families != content["families"]:
        raise InputError(
            f"{source.name}: damaged: measured has families {families}, families is {content['families']}. {RUN_AGAIN}"
        )


def _check_complete(group: Sequence[Source]) -> None:
    """Refuse to join an incomplete result with others: some rows would lack some seeds."""
    incomplete = next((source for source in group if source.content.get("missing")), None)
    if incomplete is not None and len(group) > 1:
        raise InputError(
            f"{incomplete.name}: an incomplete result, whose failed stages have to run first. {RUN_AGAIN}"
            " Or report it alone."
        )


def _check_settings(first: Source, second: Source) -> None:
    a, b = _comparable(first.content, second.content), _comparable(second.content, first.content)
    for key in sorted({*a, *b}):
        if a.get(key) != b.get(key):
            raise InputError(
                f"{first.name} and {second.name} do not belong together: setting {key} is {a.get(key)!r} and"
                f" {b.get(key)!r}. Report them apart, or run one again with the other's setting."
            )


def _check_no_copy(first: Source, second: Source) -> None:
    """Refuse a copy of a result relabelled with another seed: its items would count twice."""
    artifacts, others = ({row["artifact"] for row in source.content["rows"]} for source in (first, second))
    if artifacts and artifacts == others and first.content["seeds"] != second.content["seeds"]:
        raise InputError(
            f"{first.name} and {second.name} do not belong together: seeds {first.content['seeds']} and"
            f" {second.content['seeds']}, but the same artifacts; one is a copy of the other."
        )


def _comparable(content: Result, counterpart: Result) -> dict[str, Any]:
    """Flatten the settings, without the families that its counterpart lacks and the addresses of served models."""
    settings = dict(content["settings"])
    shared = counterpart["settings"].get("families", {})
    settings["families"] = {name: pair for name, pair in settings.get("families", {}).items() if name in shared}
    judge = settings.get("judge")
    if judge and is_endpoint(judge):
        settings["judge"] = f"{parse_endpoint(judge).model} (served)"
    flat = flatten(settings)
    if "matrix.guards" in flat:
        flat["matrix.guards"] = [without_addresses(guard) for guard in flat["matrix.guards"]]
    return flat


def _joined(group: Sequence[Source]) -> list[MeasuredTable]:
    """Join each family's tables, with seeds in ascending order regardless of the order of the sources."""
    by_family: dict[str, list[tuple[Source, MeasuredTable]]] = {}
    for source in group:
        try:
            tables = measured_tables(source.content)
        except InputError as error:
            raise InputError(f"{source.name}: {error}") from None
        for table in tables:
            for earlier, known in by_family.get(table.family, []):
                twice = sorted({*known.seeds} & {*table.seeds})
                if twice:
                    raise InputError(
                        f"{earlier.name} and {source.name} do not belong together: both hold seed {twice[0]} of"
                        f" {table.study}, {table.family}. Give each seed once."
                    )
            by_family.setdefault(table.family, []).append((source, table))
    joined = []
    for pairs in by_family.values():
        pairs.sort(key=lambda pair: pair[1].seeds)
        try:
            joined.append(pairs[0][1] if len(pairs) == 1 else merge_seeds(table for _, table in pairs))
        except InputError as error:
            raise InputError(f"{' and '.join(source.name for source, _ in pairs)}: {error}") from None
    return joined
