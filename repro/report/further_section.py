"""What Table 5, Figure 4 and the failure modes have beside their measured table: costs, counts, and examples to read."""

from collections.abc import Iterator
from statistics import mean
from typing import Any

from repro.evaluation.failure_modes import MODE_DESCRIPTIONS, MODES
from repro.models.endpoint import is_endpoint, parse_endpoint
from repro.planner.hours import printed_hours, table5_stages
from repro.report.blocks import Block, Cell, Code, Grid, Section, Text, text_cells
from repro.report.merge import Part
from repro.report.result import StageLine
from repro.tables.measurements.costs import FORMULAS, PROCESSES, CostLine, flops_per_token

COMMAND = (
    "repro run table5 --scale paper --dry-run --set families.qwen3.teacher=ORG/NAME-14B"
    " --set families.qwen3.student=ORG/NAME-1.5B --family qwen3"
)


def further_section(part: Part, key: str) -> Section:
    """Empty for every other study."""
    title, blocks = {
        "table5": ("Cost beside Table 5, and yours", _costs),
        "figure4": ("Prefixes", _prefixes),
        "failure-modes": ("Lost prompts and modes", _modes),
    }.get(part.report.study, ("", lambda part: []))
    found = blocks(part)
    return Section(f"{key}-further", title, found, brief=found)


def _costs(part: Part) -> list[Block]:
    blocks: list[Block] = [
        Text(
            "Hours are wall clock of a stage, times its GPUs (GPU-hours) or its threads (core-hours), MEASURED. Tokens are those"
            " of completions, drawn or trained on. Operations are DERIVED from tokens D and parameters of teacher T, student"
            " S, target C and any one model N; prompts come on top. Table 5 counts H100 hours of the Qwen pipeline: what can be"
            " compared is each line's share, never the hours."
        )
    ]
    for source in part.sources:
        found = source.content.get("extras", {}).get("costs")
        if found is None:
            blocks.append(Text(f"{source.name} has no record of costs: run the study again."))
            continue
        by_kind: dict[str, list[CostLine]] = {}
        for line in found["lines"]:
            by_kind.setdefault(line["kind"], []).append(line)
        blocks.append(Grid(f"Cost of a stage of each kind, {source.name}", list(_cost_rows(by_kind, found["unit"]))))
        blocks.append(Grid("What it would cost on this machine at paper scale", list(_yours(by_kind, found["unit"]))))
    blocks += [
        Text(
            "At paper scale: operations there / operations here x hours here, with the paper's models and counts (ASSUMED where"
            " it does not tell). Tiny models use a machine badly, so an extrapolation from toy records is far too high; one"
            " from the same models at fewer tokens is good. For your own models, from Table 5's hours instead: the plan prints"
            " hours x tokens / tokens x parameters / parameters for every kind of stage (size read off the name)."
        ),
        Code(COMMAND),
    ]
    return blocks


def _cost_rows(by_kind: dict[str, list[CostLine]], unit: str) -> Iterator[dict[str, Cell]]:
    compared = {kind: mean(line["hours"] for line in by_kind[kind]) for kind in printed_hours() if kind in by_kind}
    ours, theirs = sum(compared.values()), sum(printed_hours()[kind] for kind in compared)
    for kind, lines in by_kind.items():
        hours = [line["hours"] for line in lines]
        known = [line for line in lines if line["flops"] and line["tokens"]]
        tokens = mean(line["tokens"] or 0 for line in known) if known else None
        flops = mean(line["flops"] or 0.0 for line in known) if known else None
        memory = max(line["peak_memory_gib"] for line in lines)
        printed = printed_hours().get(kind)
        yield {
            "process": Cell(PROCESSES.get(kind, kind), note=f"{len(lines)} stage{'s' if len(lines) > 1 else ''}"),
            unit: Cell(f"{mean(hours):.3g}", note=f"{min(hours):.3g} to {max(hours):.3g}", value=mean(hours)),
            "Table 5, H100 hours": Cell("" if printed is None else f"{printed:g}", value=printed),
            "share": Cell(f"{compared[kind] / ours:.0%}" if kind in compared else ""),
            "share in Table 5": Cell(f"{printed_hours()[kind] / theirs:.0%}" if kind in compared else ""),
            "tokens": Cell("not recorded" if tokens is None else f"{tokens:,.0f}", value=tokens),
            "operations": Cell(
                "not known" if flops is None else f"{flops:.3g}", note=FORMULAS.get(kind, ""), value=flops
            ),
            "peak memory, GiB": Cell(f"{memory:.2f}", value=memory),
        }


def _yours(by_kind: dict[str, list[CostLine]], unit: str) -> Iterator[dict[str, Cell]]:
    """Operations at paper scale over those here, by kind."""
    for kind, plan in table5_stages().items():
        known = [line for line in by_kind.get(kind, ()) if line["flops"] and line["hours"]]
        if not known:
            continue
        rate = sum(line["flops"] or 0.0 for line in known) / sum(line["hours"] for line in known)
        work = plan.tokens * (flops_per_token(kind, plan.large, plan.small) or 0.0)
        yield {
            "process": Cell(PROCESSES[kind]),
            "tokens there": Cell(f"{plan.tokens:.3g}", note="at most: caps, not lengths", value=plan.tokens),
            "models": Cell(f"{plan.large / 1e9:g}B, {plan.small / 1e9:g}B"),
            "operations there": Cell(f"{work:.3g}", value=work),
            f"operations here per {unit[:-1]}": Cell(f"{rate:.3g}", value=rate),
            f"{unit} there": Cell(f"{work / rate:,.0f}", value=work / rate),
        }


def _summaries(part: Part, does: str) -> Iterator[tuple[str, str, StageLine]]:
    """Family, row and stage of each row's first seed."""
    seen = set()
    for source in part.sources:
        lines = {line["artifact"]: line for line in source.content["stages"] if line["stage"] == does}
        for row in source.content["rows"]:
            if row["artifact"] in lines and (row["family"], row["method"]) not in seen:
                seen.add((row["family"], row["method"]))
                yield row["family"], row["method"], lines[row["artifact"]]


def _prefixes(part: Part) -> list[Block]:
    rows, empty = [], []
    for family, method, line in _summaries(part, "continue"):
        for task, own in line["summary"].items():
            if not own["lost"]:
                empty.append(f"{family}, {task}: of {own['solved']} prompts that the student solved none was lost.")
            for one in own["by_fraction"]:
                rows.append(
                    text_cells(
                        {
                            "family": family,
                            "teacher": method,
                            "task": task,
                            "solved, then lost": f"{own['solved']}, {own['lost']}",
                            "share given": f"{one['fraction']:.0%}",
                            "tokens given": f"{one['prefix_tokens']:.1f}",
                            "already committed": f"{one['committed']:.1%}",
                            "ends right": f"{one['correct']:.1%}",
                        }
                    )
                )
    words = (
        "Over all lost prompts, those too that the teacher cannot solve alone (the measured table leaves them out); first seed."
        " Already committed: the prefix states or begins an answer (a wrong one: that is why it is here), which no teacher can take"
        " back; the measured table leaves such prefixes out. Toy completions are a few tokens long, so a long prefix is committed."
    )
    return [
        Text(words),
        *(Text(one, strong=True) for one in dict.fromkeys(empty)),
        *([Grid("Prefixes", rows)] if rows else []),
    ]


def _modes(part: Part) -> list[Block]:
    rows: list[dict[str, Cell]] = []
    rechecking = 0
    for family, method, line in _summaries(part, "classify"):
        for task, own in line["summary"].items():
            rechecking += own["rechecking"]
            rows.append(
                text_cells(
                    {
                        "family": family,
                        "student": method,
                        "task": task,
                        "solved": str(own["solved"]),
                        "lost": str(own["lost"]),
                        "completions of lost prompts": str(own["completions"]),
                        **{mode.replace("_", "-"): _count(own, mode) for mode in MODES},
                        "re-checking, of all": str(own["rechecking"]),
                    }
                )
            )
    judge = part.settings.get("judge")
    words = [
        Text("; ".join(MODE_DESCRIPTIONS.values()) + "."),
        Text(
            _judge_words(judge)
            if judge
            else "Named by rules (repro/evaluation/failure_modes.py); their agreement with labels made by hand stands in"
            " tests/evaluation/failure_labels.md."
        ),
    ]
    if not rechecking:
        words.append(
            Text(
                "No completion of any model here holds a re-check phrase: self-correction collapse cannot be seen in this"
                " world, and its claim stays inconclusive.",
                strong=True,
            )
        )
    return [*words, Grid("Lost prompts and modes, first seed", rows)]


def _judge_words(judge: str) -> str:
    if not is_endpoint(judge):
        return f"Named by the model {judge}."
    where = parse_endpoint(judge)
    return f"Named by the model {where.model}, served at {where.url}; its revision is unknown (unpinned)."


def _count(own: dict[str, Any], mode: str) -> str:
    return f"{own[mode]} ({own[mode] / own['completions']:.0%})" if own["completions"] else "0"
