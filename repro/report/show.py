"""Print a stored result again."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from repro.errors import InputError
from repro.pipeline.record import RECORD
from repro.tables import MeasuredTable, load, verdict
from repro.tables.outcome import VerdictReport

RESULTS = "results.json"


def show_result(result: Path, console: Console) -> None:
    """Verdicts and table of a study's result, or the record of one stage.

    Raises:
        InputError: the folder holds neither.
    """
    from repro.report.terminal import print_result

    if (result / RECORD).is_file():
        record = json.loads((result / RECORD).read_text())
        console.print(f"{record['label']}: {record['seconds']} s, {record['ended']}", highlight=False)
        console.print_json((result / "summary.json").read_text())
        return
    measured, report = judged(read_result(result))
    print_result(measured, report, console)


def read_result(result: Path) -> dict[str, Any]:
    """The content of a result's results.json.

    Raises:
        InputError: there is none, or it is not whole.
    """
    file = result if result.is_file() else result / RESULTS
    try:
        content = json.loads(file.read_text())
        content["study"], content["measured"]
    except OSError:
        raise InputError(
            f"{result}: no {RESULTS} and no {RECORD}. Give the folder of a study's or a stage's result."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file}: not a whole {RESULTS}. Run the study again; cached stages are kept.") from None
    return content


def judged(result: dict[str, Any]) -> tuple[list[MeasuredTable], VerdictReport]:
    """Measured tables and verdicts of a stored result, judged again from its numbers."""
    measured = [MeasuredTable.from_dict(table) for table in result["measured"]]
    return measured, verdict(measured, load(result["study"]), missing="inconclusive")
