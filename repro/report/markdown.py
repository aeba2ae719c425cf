"""report.md: verdicts first, then the measured table, failure rates, examples, cost, settings, and how to rerun."""

from collections.abc import Sequence
from typing import Any

from repro.recipes.assumed import ASSUMED
from repro.recipes.settings import flat
from repro.tables import MeasuredTable, load
from repro.tables.outcome import VerdictReport
from repro.tables.render import markdown_table, measured_markdown, verdict_markdown

FAILURES = ("unparsed", "truncated", "repeating", "empty")


def report_markdown(
    result: dict[str, Any], measured: Sequence[MeasuredTable], report: VerdictReport, examples: str
) -> str:
    """The whole page of one result.

    Args:
        result: the content of results.json.
        examples: the section with completions side by side (see `repro.report.examples`).
    """
    stored = load(result["study"])
    parts = [
        verdict_markdown(report),
        *(measured_markdown(table, stored) for table in measured),
        *(_failures(table) for table in measured),
        examples,
        _cost(result),
        _settings(result),
        _environment(result),
    ]
    notice = f"\n_{report.notice}_\n" if report.notice else ""
    return "\n".join(part.rstrip() + "\n" + notice for part in parts if part)


def _failures(table: MeasuredTable) -> str:
    rows = []
    for row in table.rows:
        for task in table.tasks:
            rates = {f: f"{table.mean(row, task, f):.3f}" for f in FAILURES if table.has(row, task, f)}
            rows.append({"row": row, "task": task, **rates})
    words = (
        "Shares of completions: no answer found (unparsed), cut by the token cap (truncated), a span of tokens at least"
        " four times in a row (repeating), no text (empty). Read no accuracy without them."
    )
    return "\n".join([f"# Failure rates ({table.family})", "", words, "", *markdown_table(rows)])


def _cost(result: dict[str, Any]) -> str:
    rows = [
        {
            "stage": line["label"],
            "seconds": f"{line['seconds']:.1f}",
            "GPU-hours": f"{line['gpu_hours']:g}",
            "peak memory, GiB": f"{line['peak_memory_gib']:.2f}",
            "artifact": line["artifact"],
        }
        for line in result["stages"]
    ]
    total = sum(line["seconds"] for line in result["stages"])
    words = f"{len(rows)} stages, {total:.0f} s in all (MEASURED; stages run side by side where cores allow)."
    return "\n".join(["# Cost", "", words, "", *markdown_table(rows)])


def _settings(result: dict[str, Any]) -> str:
    rows = [{"setting": key, "value": str(value)} for key, value in flat(result["settings"]).items()]
    lines = ["# Settings", ""]
    if result["scale"] == "toy":
        lines += ["All ours, chosen for the embedded world; they say nothing about the paper's.", ""]
    lines += markdown_table(rows)
    if result["scale"] != "toy":
        assumed = [{"value": key, "ASSUMED": str(one.value), "reason": one.reason} for key, one in ASSUMED.items()]
        lines += ["", "What the paper does not tell, and what stands in for it:", "", *markdown_table(assumed)]
    return "\n".join(lines)


def _environment(result: dict[str, Any]) -> str:
    machine = result["hardware"]
    libraries = ", ".join(f"{name} {version}" for name, version in result["libraries"].items())
    commit = result["code"]["commit"] or "not a checkout"
    dirty = " with uncommitted changes" if result["code"]["dirty"] else ""
    gpus = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    return "\n".join(
        [
            "# Environment and rerun",
            "",
            f"- code: {commit}{dirty}",
            f"- machine: {machine['system']} {machine['machine']}, {machine['cpus']} cores, {machine['memory_gib']} GiB, {gpus}",
            f"- libraries: {libraries}",
            f"- made: {result['made']}",
            f"- rerun: `{rerun(result)}`",
        ]
    )


def rerun(result: dict[str, Any]) -> str:
    """The command that makes this result again."""
    families = " ".join(f"--family {family}" for family in result["families"])
    changed = " ".join(f"--set {one}" for one in result["assignments"])
    words = f"repro run {result['study']} --scale {result['scale']} --seeds {len(result['seeds'])} {families} {changed}"
    return words.strip()
