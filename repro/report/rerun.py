"""The command that makes a result again: on pages, in crates and as the origin of a file."""

import shlex

from repro.report.result import Result


def rerun_command(result: Result) -> str:
    """Return the command that makes a result again; files of plug-ins and of claims are not named in a result."""
    arguments = ["repro", "run", result["study"], "--scale", result["scale"], "--seeds", str(len(result["seeds"]))]
    if result["seeds"][0]:
        arguments += ["--first-seed", str(result["seeds"][0])]
    for family in result["families"]:
        arguments += ["--family", family]
    for assignment in result["assignments"]:
        arguments += ["--set", assignment]
    if result.get("rehearsal"):
        arguments.append("--rehearse")
    return shlex.join(arguments)
