"""Compare two results of one study: what was set, every cell with its paired difference, and the verdicts."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from repro.errors import InputError
from repro.recipes.settings import flatten
from repro.report.reload import judge_again
from repro.report.result import Result, read_result
from repro.report.terminal import text_table
from repro.tables.formatting import FAILURE_METRICS
from repro.tables.metric_names import metric_name
from repro.tables.paired_difference import PairedDifference, paired_differences
from repro.tables.verdicts.verdict_types import ClaimVerdict, VerdictReport


@dataclass(frozen=True)
class Comparison:
    """Two results, A and B.

    Attributes:
        facts: (name, A, B) for every setting that differs; "-" if one lacks it.
        cells: by family.
        same_artifacts: rows of a family with equal artifacts and equal cells in both (a gain over another row may
            differ).
        verdicts: (claim, family, A, B), by today's claims; None where one lacks it.
        has_same_seeds: the differences are also paired by training seed.
    """

    study: str
    facts: tuple[tuple[str, str, str], ...]
    cells: dict[str, list[PairedDifference]]
    same_artifacts: dict[str, list[str]]
    verdicts: tuple[tuple[str, str, ClaimVerdict | None, ClaimVerdict | None], ...]
    has_same_seeds: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        content = asdict(self)
        content["verdicts"] = [
            {"claim": claim, "family": family, "a": a and _of_verdict(a), "b": b and _of_verdict(b)}
            for claim, family, a, b in self.verdicts
        ]
        return content


def compare_results(first: Path, second: Path) -> Comparison:
    """Compare two stored results of one study.

    Raises:
        InputError: one is missing or damaged, they are of different studies, or they share no family.
    """
    a, b = read_result(first), read_result(second)
    if a["study"] != b["study"]:
        raise InputError(
            f"{first} is a result of {a['study']}, {second} of {b['study']}: compare two results of the same study."
        )
    (tables_a, report_a), (tables_b, report_b) = judge_again(a), judge_again(b)
    by_family = {table.family: table for table in tables_b}
    pairs = [(table, by_family[table.family]) for table in tables_a if table.family in by_family]
    if not pairs:
        raise InputError(
            f"{first} has families {', '.join(a['families'])}, {second} has {', '.join(b['families'])}: they share none. Compare results of the same family."
        )
    cells = {table.family: paired_differences(table, other) for table, other in pairs}
    return Comparison(
        study=a["study"],
        facts=tuple(_different_facts(a, b)),
        cells=cells,
        same_artifacts={family: _same_rows(a, b, family, of_family) for family, of_family in cells.items()},
        verdicts=tuple(_pair_verdicts(report_a, report_b)),
        has_same_seeds=a["seeds"] == b["seeds"],
    )


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print what differs, the cells of each family, and the verdicts."""
    facts = [{"setting": name, "A": a, "B": b} for name, a, b in comparison.facts]
    console.print(text_table(facts, "What differs") if facts else "Same settings, seeds, code and libraries.")
    for family, cells in comparison.cells.items():
        same = comparison.same_artifacts[family]
        rows = [_describe_cell(cell) for cell in cells if cell.row not in same and not _is_equal_failure_rate(cell)]
        if rows:
            console.print(text_table(rows, f"\n{comparison.study}, {family}: B - A on the shared items, 95 % interval"))
        if same:
            console.print(f"Same artifacts in both: {', '.join(same)}.", highlight=False)
    if any(map(_is_equal_failure_rate, itertools.chain(*comparison.cells.values()))):
        console.print(f"Rates of {', '.join(FAILURE_METRICS)} are shown where they differ; --json has all.")
    if not comparison.has_same_seeds:
        console.print(
            "Seeds differ: each result is averaged over its own seeds; intervals leave out the spread between trainings."
        )
    verdicts = [
        {"verdict of A": a.value if a else "-", "verdict of B": b.value if b else "-", "claim": f"{claim} ({family})"}
        for claim, family, a, b in comparison.verdicts
    ]
    console.print(text_table(verdicts, "\nVerdicts"))
    changed = sum(a is None or b is None or a.value != b.value for _, _, a, b in comparison.verdicts)
    console.print(f"{changed} of {len(verdicts)} verdicts differ", highlight=False)


def _is_equal_failure_rate(cell: PairedDifference) -> bool:
    """Return True for a failure rate that does not differ."""
    low, high = cell.interval or (-1.0, 1.0)
    return cell.metric in FAILURE_METRICS and low <= 0 <= high


def _different_facts(a: Result, b: Result) -> Iterator[tuple[str, str, str]]:
    """Yield name and both values of every setting or installed version that differs."""
    facts = [_facts(a), _facts(b)]
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        texts = [_to_text(fact.get(name, "-")) for fact in facts]
        if texts[0] != texts[1]:
            yield name, texts[0], texts[1]


def _facts(result: Result) -> dict[str, Any]:
    gpus = ", ".join(gpu["name"] for gpu in result["hardware"]["gpus"]) or "none"
    return {
        "scale": result["scale"],
        "families": result["families"],
        "seeds": result["seeds"],
        **flatten(result["settings"]),
        "commit": describe_commit(result["code"]),
        "GPUs": gpus,
        **{f"library {name}": version for name, version in result["libraries"].items()},
        **{f"stored file {name}": sha256[:12] for name, sha256 in result["stored_files"].items()},
    }


def describe_commit(code: Mapping[str, Any]) -> str:
    """Return the short commit of a result or record, and whether the code had local changes."""
    return f"{(code['commit'] or 'unknown')[:12]}{' (changed)' if code['dirty'] else ''}"


def _to_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _same_rows(a: Result, b: Result, family: str, cells: Iterable[PairedDifference]) -> list[str]:
    """Return the rows with identical artifacts (for all seeds) and identical cells in both results."""
    differing = {cell.row for cell in cells if cell.first != cell.second}
    artifacts: list[dict[str, set[tuple[int, str]]]] = []
    for result in (a, b):
        by_row: dict[str, set[tuple[int, str]]] = {}
        for row in result["rows"]:
            if row["family"] == family:
                by_row.setdefault(row["method"], set()).add((row["seed"], row["artifact"]))
        artifacts.append(by_row)
    return [row for row, names in artifacts[0].items() if artifacts[1].get(row) == names and row not in differing]


def _pair_verdicts(
    a: VerdictReport, b: VerdictReport
) -> Iterable[tuple[str, str, ClaimVerdict | None, ClaimVerdict | None]]:
    by_claim = [{(v.claim, v.family): v for v in report.claims} for report in (a, b)]
    for claim, family in dict.fromkeys([*by_claim[0], *by_claim[1]]):
        yield claim, family, by_claim[0].get((claim, family)), by_claim[1].get((claim, family))


def _of_verdict(verdict: ClaimVerdict) -> dict[str, Any]:
    return {"value": verdict.value, "estimate": verdict.estimate, "interval": verdict.interval}


def _describe_cell(cell: PairedDifference) -> dict[str, str]:
    means = {side: "-" if mean is None else f"{mean:.3f}" for side, mean in (("A", cell.first), ("B", cell.second))}
    difference = "no shared items"
    if cell.difference is not None and cell.interval is not None:
        low, high = cell.interval
        mark = "" if low <= 0 <= high else " *"
        difference = f"{cell.difference:+.3f} [{low:+.3f}, {high:+.3f}]{mark}"
    return {
        "row": cell.row,
        "task": cell.task,
        "measure": metric_name(cell.metric),
        **means,
        "B - A (*: not 0)": difference,
    }
