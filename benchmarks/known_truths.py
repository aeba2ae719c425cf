"""Write how often whole studies called something true that is false by construction, from results of worlds of known truth.

    python benchmarks/known_truths.py RESULTS [docs/verdict_statistics.md]

It prints the section, and with a file replaces the section there, which begins with its heading and ends the file.
RESULTS: the folder that `nox -s reproduce-known-truth` wrote into. Each result is judged as it is, and each of its seeds
as a study of one seed.
"""

import argparse
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from answers import table_row

from repro.printed.load import load
from repro.report.reload import judge_again
from repro.report.result import RESULTS_FILE, read_result
from repro.system.atomic_write import atomic_write
from repro.tables.verdicts.verdict import verdict
from repro.toy.world import parse_world

TRUTHS = tomllib.loads(Path(__file__).with_name("known_truths.toml").read_text(encoding="utf-8"))["worlds"]
HEADING = "## Whole studies in worlds whose truth is known"


@dataclass(frozen=True)
class Outcome:
    """What one result said about a claim whose truth is known.

    Attributes:
        one_seed: the verdict of each seed as a study of its own.
    """

    world: str
    study: str
    claim: str
    family: str
    is_true: bool
    reason: str
    value: str
    text: str
    one_seed: tuple[str, ...]


def result_folders(results: Path) -> list[Path]:
    """Return the folders of the studies of known truth."""
    return sorted(file.parent for file in results.glob(f"known-truth-*/{RESULTS_FILE}"))


def truths_of(study: str, world: str) -> Iterator[tuple[str, bool, str]]:
    """Yield the claims of a study whose truth is known in a world: claim, whether it is true, the reason."""
    variant = parse_world(world).variant or ""
    for truth in TRUTHS:
        if (truth["study"], truth["variant"]) == (study, variant):
            for key in ("always", "never"):
                yield from ((claim, key == "always", truth["reason"]) for claim in truth.get(key, ()))


def outcomes_of(folder: Path) -> Iterator[Outcome]:
    """Yield what a result said about the claims whose truth is known there."""
    result = read_result(folder)
    world = result["settings"]["world"]
    tables, pooled = judge_again(result)
    stored = load(result["study"])
    single = [
        verdict([table.only_seed(n) for table in tables], stored, missing="inconclusive")
        for n in range(len(result["seeds"]))
    ]
    for claim, is_true, reason in truths_of(result["study"], world):
        for v in pooled.claims:
            if v.claim == claim:
                one_seed = [
                    w.value for report in single for w in report.claims if (w.claim, w.family) == (claim, v.family)
                ]
                text = v.text.removeprefix(f"{v.value}: ")
                yield Outcome(world, result["study"], claim, v.family, is_true, reason, v.value, text, tuple(one_seed))


def count(values: list[str]) -> str:
    """Return e.g. "0 of 9"."""
    return f"{sum(value == 'reproduced' for value in values)} of {len(values)}"


def section(outcomes: list[Outcome]) -> str:
    """Return the section: rates first, then every claim."""
    false, true = ([o for o in outcomes if o.is_true == is_true] for is_true in (False, True))
    lines = [
        HEADING,
        "",
        "Measured by `nox -s reproduce-known-truth`, written by `python benchmarks/known_truths.py RESULTS docs/verdict_statistics.md`."
        " Models are trained, calibrated and distilled in [embedded worlds](toy_world.md) in which a claim is true or false by"
        " construction. A false one that is called reproduced is a false alarm of the whole study.",
        "",
        "| claims | called reproduced, all seeds together | called reproduced, one seed at a time |",
        "|---|---|---|",
        f"| false by construction (false alarms) | {count([o.value for o in false])} | {count([v for o in false for v in o.one_seed])} |",
        f"| true by construction (power) | {count([o.value for o in true])} | {count([v for o in true for v in o.one_seed])} |",
        "",
        "These are few studies: 0 of n bounds a rate by about 3 / n (95 %). The rates of the statistics alone are above.",
        "",
        "| world | study | family | claim | by construction | verdict | seeds one by one | measured |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        truth = f"{'true' if o.is_true else 'false'}: {o.reason}"
        cells = (o.world, o.study, o.family, o.claim, truth, o.value, ", ".join(o.one_seed), o.text)
        lines.append(table_row(cells))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("document", type=Path, nargs="?")
    arguments = parser.parse_args()
    outcomes = [outcome for folder in result_folders(arguments.results) for outcome in outcomes_of(folder)]
    text = section(outcomes)
    print(text)
    if arguments.document is not None:
        before = arguments.document.read_text(encoding="utf-8").partition(HEADING)[0].rstrip()
        with atomic_write(arguments.document) as temporary:
            temporary.write_text(f"{before}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
