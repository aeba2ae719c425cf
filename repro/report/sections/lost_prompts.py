"""Prompts that a student solved and then lost: continued prefixes (Figure 4) and failure modes (section 6.5)."""

from collections.abc import Iterator
from typing import Any

from repro.evaluation.failure_modes import MODE_DESCRIPTIONS, MODES
from repro.models.endpoint import is_endpoint, parse_endpoint
from repro.report.blocks import Block, Collapsible, Section, Text, text_grid
from repro.report.merge import Part
from repro.report.text import capitalise


def prefix_section(part: Part, key: str) -> Section:
    """Show how often each teacher gets the answer right, by how much of the student's completion was given."""
    several = len(part.report.families) > 1
    rows: list[dict[str, str]] = []
    empty: list[str] = []
    for family, method, task, counts in _summaries(part, "continue"):
        if not counts["lost"]:
            empty.append(f"{family}, {task}: of {counts['solved']} prompts that the student solved none was lost.")
        rows += [
            {
                "teacher": f"{method} ({family})" if several else method,
                "task": task,
                "solved, then lost": f"{counts['solved']}, {counts['lost']}",
                "cut": name,
                "tokens given": _or_none(line["prefix_tokens"], ".1f"),
                "already committed": _or_none(line["committed"], ".1%"),
                "ends right": _or_none(line["correct"], ".1%"),
            }
            for name, line in _prefix_lines(counts)
        ]
    explanation = (
        "Before a re-check: where the misled student had stated the correct answer and flipped after a re-check (the paper's"
        " Figure 4). Shares: any wrong completion, cut at a share of its length (a measure of ours); a prefix of fewer tokens than"
        f" {part.settings['prefixes'].get('min_tokens', 1)} is left out."
        " Over all lost prompts, including those that the teacher cannot solve alone (the measured table leaves them out); first"
        " seed. Already committed: the prefix states or begins a wrong answer, which no teacher can take back; the measured table"
        " leaves such prefixes out."
    )
    if part.report.scale == "toy":
        explanation += " Toy completions are a few tokens long, so most long prefixes are committed."
    blocks: list[Block] = [Text(explanation), *(Text(text, strong=True) for text in dict.fromkeys(empty))]
    grid = text_grid("Prefixes", rows)
    folded: list[Block] = [Collapsible(f"Prefixes of every teacher and task: {len(rows)}", [grid], f"{key}-prefixes")]
    return Section(
        f"{key}-further", "Prefixes", [*blocks, *(folded if rows else [])], brief=[*blocks, *([grid] if rows else [])]
    )


def _prefix_lines(counts: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each kind of prefix with its summary. Results of older code have no prefixes before a re-check."""
    if recheck := counts.get("before_recheck"):
        yield f"before a re-check ({recheck['prefixes']} prefixes)", recheck
    for line in counts["by_fraction"]:
        yield f"{line['fraction']:.0%}" if line["fraction"] else "no prefix", line


def _or_none(value: float | None, spec: str) -> str:
    return "none" if value is None else format(value, spec)


def mode_section(part: Part, key: str) -> Section:
    """Show how many completions of lost prompts fall into each mode, and who classified them."""
    summaries = list(_summaries(part, "classify"))
    several = len(part.report.families) > 1
    rows = [
        {
            "student": f"{method} ({family})" if several else method,
            "task": task,
            "solved": str(counts["solved"]),
            "lost": str(counts["lost"]),
            "completions of lost prompts": str(counts["completions"]),
            **{mode.replace("_", "-"): _count(counts, mode) for mode in MODES},
            "re-checking, of all": str(counts["rechecking"]),
        }
        for family, method, task, counts in summaries
    ]
    blocks: list[Block] = [
        Text(
            f"{capitalise('; '.join(MODE_DESCRIPTIONS.values()))}. The other completions of lost prompts are right, or fit no mode."
        ),
        Text(_describe_judge(part.settings.get("judge"))),
    ]
    if not any(counts["rechecking"] for *_, counts in summaries):
        blocks.append(
            Text(
                "No completion of any model here holds a re-check phrase: self-correction collapse cannot be seen in this"
                " world, and its claim stays inconclusive.",
                strong=True,
            )
        )
    blocks.append(text_grid("Lost prompts and modes, first seed", rows))
    return Section(f"{key}-further", "Lost prompts and modes", blocks, brief=blocks)


def _summaries(part: Part, stage: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield family, row, task and counts of each row's first seed."""
    seen = set()
    for source in part.sources:
        lines = {line["artifact"]: line for line in source.content["stages"] if line["stage"] == stage}
        for row in source.content["rows"]:
            name = row["family"], row["method"]
            if row["artifact"] in lines and row["family"] in part.report.families and name not in seen:
                seen.add(name)
                for task, counts in lines[row["artifact"]]["summary"].items():
                    yield *name, task, counts


def _describe_judge(judge: str | None) -> str:
    if not judge:
        return (
            "Named by rules (repro/evaluation/failure_modes.py); their agreement with labels made by hand stands in"
            " tests/evaluation/failure_labels.md."
        )
    if not is_endpoint(judge):
        return f"Named by the model {judge}."
    endpoint = parse_endpoint(judge)
    return f"Named by the model {endpoint.model}, served at {endpoint.url}; its revision is unknown (unpinned)."


def _count(counts: dict[str, Any], mode: str) -> str:
    return f"{counts[mode]} ({counts[mode] / counts['completions']:.0%})" if counts["completions"] else "0"
