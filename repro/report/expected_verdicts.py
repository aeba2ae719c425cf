"""The committed record of the verdicts that the toy world is known to get."""

from datetime import UTC, datetime
from pathlib import Path

from repro.errors import InputError
from repro.printed.load import load
from repro.report.reload import judge_again
from repro.report.result import read_result
from repro.tables.verdicts.known_verdicts import write_known_verdicts
from repro.tables.verdicts.verdict import verdict


def record_path(folder: Path, study: str, scale: str) -> Path:
    """Return the file of a study's record."""
    return folder / f"{study}-{scale}.toml"


def record_expected_verdicts(result: Path, folder: Path) -> Path:
    """Write the record from a result of several seeds.

    Raises:
        InputError: not a toy result, too few seeds, or made by code that is not committed.
    """
    content = read_result(result)
    if content["scale"] != "toy":
        raise InputError(f"{result}: scale {content['scale']}. Only the toy world's verdicts are recorded.")
    if content["code"]["dirty"] or not content["code"]["commit"]:
        raise InputError(
            f"{result}: made by code that is not committed. Commit, run again (stages are cached), record."
        )
    measured, pooled = judge_again(content)
    stored = load(content["study"])
    by_seed = [
        verdict([table.only_seed(i) for table in measured], stored, missing="inconclusive")
        for i in range(len(content["seeds"]))
    ]
    path = record_path(folder, content["study"], content["scale"])
    date = datetime.now(UTC).date().isoformat()
    write_known_verdicts(path, pooled, by_seed, date=date, commit=content["code"]["commit"])
    return path
