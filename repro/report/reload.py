"""Print a stored result again, and judge it again."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from repro.errors import InputError
from repro.printed.claims import Claim
from repro.printed.load import load
from repro.report.result import RESULTS_FILE, Result, measured_tables, own_claims, read_result
from repro.stages.artifact import RECORD, find_warnings
from repro.stages.readable_label import describe_record, with_seed
from repro.system.input_errors import did_you_mean_path
from repro.tables import MeasuredTable
from repro.tables.own_claims import judged_claims, read_own_claims
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import VerdictReport


def show_result(result: Path, console: Console, claims: Sequence[Path] = ()) -> None:
    """Print verdicts and table of a study's result, the panel of one pair, or the record of one stage.

    Raises:
        InputError: the folder holds none of these, or is damaged.
    """
    from repro.report.panel import PANEL_FILE
    from repro.report.terminal import print_result

    if (result / RECORD).is_file():
        _show_record(result, console)
    elif (result / PANEL_FILE).is_file():
        _show_panel(result / PANEL_FILE, console)
    elif result.is_file() or (result / RESULTS_FILE).is_file():
        content = read_result(result)
        named = read_own_claims(claims, content["study"])
        judged = judge_again(content, named)
        matrix = content.get("extras", {}).get("matrix")
        users_claims = {claim.id: claim for claim in [*own_claims(content), *named]}
        styles, missing = content.get("styles", []), content.get("missing", [])
        print_result(*judged, console, styles, matrix, list(users_claims.values()), missing)
    elif not result.exists():
        raise InputError(
            f"{result}: no such folder. {did_you_mean_path(result)}`repro ls FOLDER -a` lists results and artifacts."
        )
    else:
        raise InputError(
            f"{result}: no {RESULTS_FILE} and no {RECORD}. Give the folder of a study's or a stage's result."
        )


def _show_record(artifact: Path, console: Console) -> None:
    from repro.report.stage_summary import print_summary

    try:
        record = json.loads((artifact / RECORD).read_text())
        label = with_seed(describe_record(record, artifact.parent), record["config"]["seed"])
        line = f"{label}: {record['seconds']:.0f} s, {record['ended']}"
        summary = dict(json.loads((artifact / "summary.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{artifact}: damaged artifact. Run again: it is set aside and computed again.") from None
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    print_summary(summary, console)
    for subject, message in find_warnings(summary).items():
        console.print(f"warning: {subject}: {message}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _show_panel(file: Path, console: Console) -> None:
    from repro.report.panel import print_panel

    try:
        print_panel(json.loads(file.read_text()), console)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{file}: damaged. Run `repro traps` again; cached stages are kept.") from None


def judge_again(result: Result, claims: Sequence[Claim] = ()) -> tuple[list[MeasuredTable], VerdictReport]:
    """Return the measured tables of a stored result, and the verdicts on them by today's claims.

    Args:
        claims: further claims of one's own, beside those that the result has.
    """
    measured = measured_tables(result)
    by_id = {claim.id: claim for claim in [*own_claims(result), *claims]}
    judged = judged_claims(result["study"], list(by_id.values()))
    return measured, verdict(measured, load(result["study"]), judged, missing="inconclusive")
