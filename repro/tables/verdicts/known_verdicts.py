"""The committed record of a scaled-down world's known verdicts, so that any change is noticed.

A one-seed run is compared with what single seeds gave when the record was made; a multi-seed run with the verdict from
all of the record's seeds. A change in either direction is a difference.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from repro.errors import InputError
from repro.printed.files import read_toml
from repro.printed.schema import Strict
from repro.system.atomic_write import atomic_write
from repro.tables.statistics.decision import VerdictValue
from repro.tables.verdicts.verdict_types import ClaimVerdict, VerdictReport

_FEWEST_SEEDS = 3
_HEADER = (
    "# Verdict that each claim is known to get at this scale. Written by a command from several seeds, never by hand.\n"
)


class KnownVerdict(Strict):
    """The known verdict of one claim.

    Attributes:
        margin: the claim's margin when the record was made; a changed margin also counts as a difference.
        verdict: from all of the record's seeds together.
        one_seed: the distinct verdicts of the individual seeds.
    """

    claim: str
    family: str
    margin: float
    verdict: VerdictValue
    one_seed: tuple[VerdictValue, ...]
    reason: str


class KnownVerdicts(Strict):
    """A record and its origin.

    Attributes:
        world: the embedded world that it was measured in.
        development_worlds: the worlds on which the settings were chosen.
    """

    study: str
    scale: str
    world: str
    development_worlds: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    date: str
    commit: str
    claims: tuple[KnownVerdict, ...]


@dataclass(frozen=True)
class Difference:
    """One disagreement between a run and the record; `found` is None if the run lacks the claim."""

    claim: str
    family: str
    expected: tuple[VerdictValue, ...]
    found: VerdictValue | None
    text: str


def load_known_verdicts(path: Path) -> KnownVerdicts:
    """Read a record.

    Raises:
        InputError: no such file, or malformed (names line and key).
    """
    if not path.is_file():
        raise InputError(f"{path}: no record of known verdicts. Write one from a toy run of several seeds.")
    return read_toml(path, KnownVerdicts)[0]


def compare_with_known(report: VerdictReport, known: KnownVerdicts) -> list[Difference]:
    """Return every claim with a verdict other than the known one, or missing from either the run or the record."""
    if (report.study, report.scale) != (known.study, known.scale):
        raise InputError(
            f"verdicts of {report.study} at {report.scale} scale cannot be compared with a record of "
            f"{known.study} at {known.scale} scale."
        )
    records = {(record.claim, record.family): record for record in known.claims}
    differences: list[Difference] = []
    for verdict in report.claims:
        record = records.pop((verdict.claim, verdict.family), None)
        differences += _differences(verdict, record, len(report.seeds))
    for record in records.values():
        if record.family in report.families:
            text = f"{record.claim} ({record.family}): in the record ({record.verdict}), not in the run"
            differences.append(Difference(record.claim, record.family, (record.verdict,), None, text))
    return differences


def _differences(verdict: ClaimVerdict, record: KnownVerdict | None, seeds: int) -> Iterator[Difference]:
    def difference(expected: tuple[VerdictValue, ...], text: str) -> Difference:
        text = f"{verdict.claim} ({verdict.family}): {text}"
        return Difference(verdict.claim, verdict.family, expected, verdict.value, text)

    if record is None:
        yield difference((), f"{verdict.value}, not in the record")
        return
    if verdict.margin != record.margin:
        text = f"margin {verdict.margin:g}, the record was made with {record.margin:g}"
        yield difference((record.verdict,), text)
    allowed = record.one_seed if seeds == 1 else (record.verdict,)
    if verdict.value not in allowed:
        yield difference(allowed, f"{verdict.value}, the record says {' or '.join(allowed)}")


def write_known_verdicts(
    path: Path,
    pooled: VerdictReport,
    single: Sequence[VerdictReport],
    *,
    world: str,
    development_worlds: Sequence[str],
    tasks: Sequence[str],
    date: str,
    commit: str,
) -> None:
    """Write the record from one report over all seeds and one per seed (`measured.only_seed(i)`).

    A claim's reason is the verdict's sentence.

    Raises:
        InputError: paper scale, fewer than three seeds, not one report per seed, or a folder that cannot be written.
    """
    if pooled.scale == "paper" or any(report.scale != pooled.scale for report in single):
        raise InputError(
            "known verdicts are recorded for scaled-down worlds only: at paper scale a verdict is a "
            "finding, not a record."
        )
    if len(pooled.seeds) < _FEWEST_SEEDS:
        raise InputError(
            f"a record needs at least {_FEWEST_SEEDS} seeds, this run has {len(pooled.seeds)}: run "
            f"again with --seeds {_FEWEST_SEEDS}."
        )
    if sorted(seed for report in single for seed in report.seeds) != sorted(pooled.seeds):
        raise InputError(
            f"a record needs one report per seed of {list(pooled.seeds)}, got "
            f"{[list(report.seeds) for report in single]}."
        )
    one_seed: dict[tuple[str, str], set[VerdictValue]] = {}
    for report in single:
        for verdict in report.claims:
            one_seed.setdefault((verdict.claim, verdict.family), set()).add(verdict.value)
    known = KnownVerdicts(
        study=pooled.study,
        scale=pooled.scale,
        world=world,
        development_worlds=tuple(development_worlds),
        tasks=tuple(tasks),
        seeds=pooled.seeds,
        date=date,
        commit=commit,
        claims=tuple(
            KnownVerdict(
                claim=verdict.claim,
                family=verdict.family,
                margin=verdict.margin,
                verdict=verdict.value,
                one_seed=tuple(sorted(one_seed.get((verdict.claim, verdict.family), ()))),
                reason=verdict.text,
            )
            for verdict in pooled.claims
        ),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(_HEADER + tomli_w.dumps(known.model_dump()), encoding="utf-8")
    except OSError as cause:
        raise InputError(
            f"{path.parent}: cannot be written to ({cause.strerror}). Name another folder with --into."
        ) from None
