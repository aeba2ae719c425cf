"""The committed record of the toy world's known verdicts."""

from datetime import UTC, datetime
from pathlib import Path

from repro.errors import InputError
from repro.printed.load import load
from repro.report.result import measured_tables, read_result
from repro.tables.verdicts.known_verdicts import write_known_verdicts
from repro.tables.verdicts.verdict import verdict
from repro.toy.world import DEFAULT_WORLD, DEVELOPMENT_WORLDS


def record_path(folder: Path, study: str, scale: str, label: str = "") -> Path:
    """Return the file of a study's record; additional ones, for other worlds or tasks, have a label."""
    return folder / f"{study}-{scale}{label and '-'}{label}.toml"


def record_expected_verdicts(result: Path, folder: Path, label: str = "") -> Path:
    """Write the record from a multi-seed result, leaving out the user's own claims.

    Raises:
        InputError: not a toy result, too few seeds, made by code that is not committed, or of another world than the
            default one and without a label.
    """
    content = read_result(result)
    if content["scale"] != "toy":
        raise InputError(f"{result}: scale {content['scale']}. Only the toy world's verdicts are recorded.")
    if content["code"]["dirty"] or not content["code"]["commit"]:
        raise InputError(
            f"{result}: made by code that is not committed. Commit, run again (stages are cached), record."
        )
    world = content["settings"]["world"]
    if world != DEFAULT_WORLD.name and not label:
        raise InputError(
            f"{result}: made in {world}, a study's own record is of {DEFAULT_WORLD.name}. Add --label {world}."
        )
    measured, stored = measured_tables(content), load(content["study"])
    pooled = verdict(measured, stored, missing="inconclusive")
    by_seed = [
        verdict([table.only_seed(i) for table in measured], stored, missing="inconclusive")
        for i in range(len(content["seeds"]))
    ]
    path = record_path(folder, content["study"], content["scale"], label)
    date = datetime.now(UTC).date().isoformat()
    write_known_verdicts(
        path,
        pooled,
        by_seed,
        world=world,
        development_worlds=[development.name for development in DEVELOPMENT_WORLDS],
        tasks=content["tasks"],
        date=date,
        commit=content["code"]["commit"],
    )
    return path
