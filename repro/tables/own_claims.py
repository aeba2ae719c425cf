"""The user's own claims, from a file (`--claims FILE`), judged with the stored ones and kept in the result.

The file has the format of paper_tables/claims.toml. Its claims are controls, since the paper does not make them: their
role is "control", their provenance "ASSUMED", `quote` is the question they answer, and they never fail a run.
"""

from collections.abc import Sequence
from pathlib import Path

from repro.errors import InputError
from repro.printed.claims import Claim, ClaimsFile
from repro.printed.files import file_error, read_toml
from repro.printed.load import load_claims
from repro.system.input_errors import did_you_mean
from repro.tables.measured_table import MeasuredTable
from repro.tables.metric_names import DESCRIPTIONS, NAMES, is_metric
from repro.tables.verdicts.verdict_types import VerdictReport


def read_own_claims(files: Sequence[Path], study: str) -> list[Claim]:
    """Return the files' claims about a study, in order.

    Raises:
        InputError: an unreadable file, a claim of another study or role, a metric that does not exist, or an id that is
            taken; names line and key.
    """
    taken = {claim.id for claim in load_claims()}
    claims: list[Claim] = []
    for path in files:
        file, text = read_toml(path, ClaimsFile)
        for number, claim in enumerate(file.claims):
            key = ("claims", number)
            if claim.role != "control":
                problem = f'{claim.role!r}: claims of your own have the role "control" and the provenance "ASSUMED"'
                raise file_error(path, text, (*key, "role"), problem)
            if claim.study != study:
                raise file_error(
                    path, text, (*key, "study"), f"{claim.study!r}: these claims are judged on a result of {study!r}"
                )
            if claim.id in taken:
                raise file_error(path, text, (*key, "id"), f"{claim.id!r} is used by another claim. Choose another id")
            if unknown := [metric for metric in claim.metrics if not is_metric(metric)]:
                hint = did_you_mean(unknown[0], (*NAMES, *DESCRIPTIONS), 3)
                hint = hint or f"There are {', '.join(NAMES)}, maj16, pass16"
                raise file_error(path, text, (*key, "metrics"), f"{unknown[0]!r}: no such metric. {hint}")
            taken.add(claim.id)
            claims.append(claim)
    return claims


def describe_unjudged(claims: Sequence[Claim], report: VerdictReport, measured: Sequence[MeasuredTable]) -> list[str]:
    """Return a line per own claim and family not judged, suggesting the closest row name if its row does not exist.

    A claim that was judged without some of its tasks (idle, at chance) is not listed.
    """
    judged = {(verdict.claim, verdict.family) for verdict in report.claims}
    rows = list(dict.fromkeys(row for table in measured for row in table.rows))
    lines = []
    for claim in claims:
        unknown = next((ref.row for ref in (claim.left, *claim.right) if ref.row not in (*rows, "*")), None)
        hint = f". {did_you_mean(unknown, rows)}".rstrip() if unknown else ""
        for family in report.families:
            if (claim.id, family) not in judged:
                name = f"{claim.id} ({family})"
                lines += [f"not judged: {text}{hint}" for text in report.skipped if text.startswith(name)]
    return lines


def judged_claims(study: str, own: Sequence[Claim]) -> list[Claim]:
    """Return a study's stored claims, then the user's own.

    Raises:
        InputError: an own claim's id has since been taken by a stored claim.
    """
    stored = load_claims(study)
    for claim in own:
        if claim.id in {known.id for known in stored}:
            raise InputError(
                f"claim {claim.id!r} of your own: paper_tables/claims.toml has this id. Choose another id."
            )
    return [*stored, *own]
