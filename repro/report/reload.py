"""Print a stored result again."""

import json
from pathlib import Path

from rich.console import Console

from repro.errors import InputError
from repro.report.result import RESULTS_FILE, Result, measured_tables, read_result
from repro.stages.artifact import RECORD
from repro.tables import MeasuredTable
from repro.tables.paper.load import load
from repro.tables.verdicts.verdict import verdict
from repro.tables.verdicts.verdict_types import VerdictReport


def show_result(result: Path, console: Console) -> None:
    """Verdicts and table of a study's result, the panel of one pair, or the record of one stage.

    Raises:
        InputError: the folder holds neither.
    """
    from repro.report.panel import PANEL_FILE, print_panel
    from repro.report.terminal import print_result

    if (result / RECORD).is_file():
        try:
            record = json.loads((result / RECORD).read_text())
            line = f"{record['label']}: {record['seconds']} s, {record['ended']}"
            summary = json.dumps(json.loads((result / "summary.json").read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{result}: not a whole artifact. Run again: it is set aside and made anew.") from None
        console.print(line, highlight=False)
        console.print_json(summary)
        return
    if (result / PANEL_FILE).is_file():
        try:
            print_panel(json.loads((result / PANEL_FILE).read_text()), console)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{result / PANEL_FILE}: damaged. Run `repro traps` again: nothing cached is computed twice."
            ) from None
        return
    if not result.is_file() and not (result / RESULTS_FILE).is_file():
        raise InputError(
            f"{result}: no {RESULTS_FILE} and no {RECORD}. Give the folder of a study's or a stage's result."
        )
    measured, report = judge_again(read_result(result))
    print_result(measured, report, console)


def judge_again(result: Result) -> tuple[list[MeasuredTable], VerdictReport]:
    """Measured tables and verdicts of a stored result, judged again from its numbers."""
    measured = measured_tables(result)
    return measured, verdict(measured, load(result["study"]), missing="inconclusive")
