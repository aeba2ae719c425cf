"""The record of verdicts that the embedded world is known to give, so that what it contradicts stays visible.

A run of one seed is compared with what single seeds gave when the record was made; a run of several seeds
with the verdict that all seeds of the record gave together. A change in either direction is a difference.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from repro.errors import InputError
from repro.system.atomic_write import atomic_write
from repro.tables.statistics.decision import VerdictValue
from repro.tables.verdicts.verdict_types import VerdictReport

RECORD = Path("benchmarks/known_verdicts/table2-toy.toml")  # relative to the repository's root

_FEWEST_SEEDS = 3


@dataclass(frozen=True)
class KnownVerdict:
    """What is known of one claim.

    margin: the claim's margin when the record was made: a change of it is a difference like any other.
    verdict: from all seeds of the record together. one_seed: the verdicts that its seeds gave one by one,
        distinct.
    """

    claim: str
    family: str
    margin: float
    verdict: VerdictValue
    one_seed: tuple[VerdictValue, ...]
    reason: str


@dataclass(frozen=True)
class KnownVerdicts:
    """A record and where it came from."""

    study: str
    scale: str
    seeds: tuple[int, ...]
    date: str
    commit: str
    claims: tuple[KnownVerdict, ...]


@dataclass(frozen=True)
class Difference:
    """One disagreement between a run and the record; `found` is None where the run lacks the claim."""

    claim: str
    family: str
    expected: tuple[VerdictValue, ...]
    found: VerdictValue | None
    text: str


def load_known_verdicts(path: Path) -> KnownVerdicts:
    """Read a record; InputError names file and key where it is malformed."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise InputError(
            f"{path}: no record of known verdicts ({cause.strerror}). Write one from a toy run of several seeds."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise InputError(f"{path}: not TOML: {cause}.") from None
    try:
        known = KnownVerdicts(
            study=content["study"],
            scale=content["scale"],
            seeds=tuple(content["seeds"]),
            date=content["date"],
            commit=content["commit"],
            claims=tuple(
                KnownVerdict(c["claim"], c["family"], c["margin"], c["verdict"], tuple(c["one_seed"]), c["reason"])
                for c in content["claims"]
            ),
        )
    except (KeyError, TypeError) as cause:
        raise InputError(f"{path}: key {cause} is missing or of the wrong type.") from None
    for claim in known.claims:
        for value in (claim.verdict, *claim.one_seed):
            if value not in get_args(VerdictValue):
                raise InputError(
                    f"{path}: claim {claim.claim!r}: verdict {value!r} is none of {', '.join(get_args(VerdictValue))}."
                )
    return known


def compare_with_known(report: VerdictReport, known: KnownVerdicts) -> list[Difference]:
    """Every claim whose verdict is not the known one, or that only one of the run and the record has."""
    if (report.study, report.scale) != (known.study, known.scale):
        raise InputError(
            f"verdicts of {report.study} at {report.scale} scale cannot be compared with a record of "
            f"{known.study} at {known.scale} scale."
        )
    expected = {(k.claim, k.family): k for k in known.claims}
    differences = []
    for v in report.claims:
        record = expected.pop((v.claim, v.family), None)
        if record is None:
            differences.append(
                Difference(v.claim, v.family, (), v.value, f"{v.claim} ({v.family}): {v.value}, not in the record")
            )
            continue
        if v.margin != record.margin:
            text = f"{v.claim} ({v.family}): margin {v.margin:g}, the record was made with {record.margin:g}"
            differences.append(Difference(v.claim, v.family, (record.verdict,), v.value, text))
        allowed = record.one_seed if len(report.seeds) == 1 else (record.verdict,)
        if v.value not in allowed:
            text = f"{v.claim} ({v.family}): {v.value}, the record says {' or '.join(allowed)}"
            differences.append(Difference(v.claim, v.family, allowed, v.value, text))
    for record in expected.values():
        if record.family in report.families:
            text = f"{record.claim} ({record.family}): in the record ({record.verdict}), not in the run"
            differences.append(Difference(record.claim, record.family, (record.verdict,), None, text))
    return differences


def write_known_verdicts(
    path: Path, pooled: VerdictReport, single: Sequence[VerdictReport], *, date: str, commit: str
) -> None:
    """Write the record from one report over all seeds and one per seed (`measured.only_seed(i)`).

    A claim's reason is the verdict's own sentence. Refuses paper scale and fewer than three seeds.
    """
    if pooled.scale == "paper" or any(r.scale != pooled.scale for r in single):
        raise InputError(
            "known verdicts are recorded for scaled-down worlds only: at paper scale a verdict is a "
            "finding, not a record."
        )
    if len(pooled.seeds) < _FEWEST_SEEDS:
        raise InputError(
            f"a record needs at least {_FEWEST_SEEDS} seeds, this run has {len(pooled.seeds)}: run "
            f"again with --seeds {_FEWEST_SEEDS}."
        )
    if sorted(s for r in single for s in r.seeds) != sorted(pooled.seeds):
        raise InputError(
            f"a record needs one report per seed of {list(pooled.seeds)}, given were {[list(r.seeds) for r in single]}."
        )
    alone = [{(v.claim, v.family): v.value for v in report.claims} for report in single]
    lines = [
        "# Verdict that each claim is known to get at this scale. Written by a command from several "
        "seeds, never by hand.",
        f"study = {json.dumps(pooled.study)}",
        f"scale = {json.dumps(pooled.scale)}",
        f"seeds = {json.dumps(list(pooled.seeds))}",
        f"date = {json.dumps(date)}",
        f"commit = {json.dumps(commit)}",
    ]
    for v in pooled.claims:
        one_seed = sorted({values[v.claim, v.family] for values in alone if (v.claim, v.family) in values})
        lines += [
            "",
            "[[claims]]",
            f"claim = {json.dumps(v.claim)}",
            f"family = {json.dumps(v.family)}",
            f"margin = {json.dumps(v.margin)}",
            f"verdict = {json.dumps(v.value)}",
            f"one_seed = {json.dumps(one_seed)}",
            f"reason = {json.dumps(v.text, ensure_ascii=False)}",
        ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as aside:
            aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as cause:
        raise InputError(
            f"{path.parent}: cannot be written to ({cause.strerror}). Name another folder with --into."
        ) from None
