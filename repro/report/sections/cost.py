"""Cost of stages, beside Table 5."""

from collections.abc import Iterator, Mapping
from statistics import mean

from repro.planner.hours import printed_hours, table5_stages
from repro.report.blocks import Block, Cell, Code, Collapsible, Grid, Section, Text, number_cell
from repro.report.figures.cost import cost_shares
from repro.report.figures.export import inline_chart
from repro.report.merge import Part
from repro.tables.measurements.costs import FORMULAS, PROCESSES, CostLine, flops_per_token

COMMAND = (
    "repro run table5 --scale paper --dry-run --set families.qwen3.teacher=ORG/NAME-14B"
    " --set families.qwen3.student=ORG/NAME-1.5B --family qwen3"
)


def cost_section(part: Part, key: str) -> Section:
    """Show the seconds of every stage, and the shares of a pipeline against Table 5."""
    lines = {line["artifact"]: line for source in part.sources for line in source.content["stages"]}
    seconds: dict[str, list[float]] = {}
    for line in lines.values():
        seconds.setdefault(line["kind"], []).append(line["seconds"])
    total = sum(line["seconds"] for line in lines.values())
    gpu_hours = sum(line["gpu_hours"] for line in lines.values())
    summary = Text(
        f"{len(lines)} stages, {total:,.0f} s and {gpu_hours:g} GPU-hours in all (MEASURED; stages run in parallel where"
        " cores allow)."
    )
    blocks: list[Block] = [summary]
    printed = {kind: hours for kind, hours in printed_hours().items() if kind in seconds}
    if len(printed) > 1:
        measured = {kind: mean(seconds[kind]) for kind in printed}
        measured_shares, printed_shares = _shares(measured), _shares(printed)
        shares = [
            {
                "kind": Cell(kind),
                "mean seconds": number_cell(measured[kind], ".1f"),
                "share": number_cell(measured_shares[kind], ".0%"),
                "Table 5, hours": number_cell(hours, "g"),
                "Table 5, share": number_cell(printed_shares[kind], ".0%"),
            }
            for kind, hours in printed.items()
        ]
        blocks.append(Grid("One stage of each kind against Table 5 (Qwen pipeline, H100 hours)", shares))
        blocks.append(inline_chart(cost_shares(measured, printed), key))
    rows = [
        {
            "stage": Cell(line["label"]),
            "seconds": number_cell(line["seconds"], ".1f"),
            "GPU-hours": number_cell(line["gpu_hours"], "g"),
            "peak memory, GiB": number_cell(line["peak_memory_gib"], ".2f"),
            "artifact": Cell(line["artifact"]),
        }
        for line in lines.values()
    ]
    blocks.append(Collapsible(f"Every stage: {len(rows)}", [Grid("Cost of every stage", rows)], f"{key}-stages"))
    return Section(f"{key}-cost", "Cost", blocks, brief=[summary])


def table5_section(part: Part, key: str) -> Section:
    """Show the cost of each kind of stage beside Table 5, and extrapolate it to paper scale on this machine."""
    blocks: list[Block] = [
        Text(
            "Hours are wall clock of a stage, times its GPUs (GPU-hours) or its threads (core-hours), MEASURED. Tokens are those"
            " of completions, drawn or trained on. Operations are DERIVED from tokens D and parameters of teacher T, student"
            " S, target C and any one model N; prompts come on top. Table 5 counts H100 hours of the Qwen pipeline: what can be"
            " compared is each line's share, never the hours."
        )
    ]
    for source in part.sources:
        costs = source.content.get("extras", {}).get("costs")
        if costs is None:
            blocks.append(Text(f"{source.name} has no record of costs: run the study again."))
            continue
        by_kind: dict[str, list[CostLine]] = {}
        for line in costs["lines"]:
            by_kind.setdefault(line["kind"], []).append(line)
        unit = costs["unit"]
        blocks.append(Grid(f"Cost of a stage of each kind, {source.name}", list(_measured(by_kind, unit))))
        blocks.append(Grid("What it would cost on this machine at paper scale", list(_extrapolated(by_kind, unit))))
    blocks += [
        Text(
            "At paper scale: operations there / operations here x hours here, with the paper's models and counts (ASSUMED where"
            " the paper does not state them). Tiny models use a machine badly, so an extrapolation from toy records is far too"
            " high; one from the same models at fewer tokens is good. This command estimates the hours of each kind of stage for"
            " your own models before anything runs, next to Table 5's:"
        ),
        Code(COMMAND),
    ]
    return Section(f"{key}-further", "Cost beside Table 5, and yours", blocks, brief=blocks)


def _measured(by_kind: dict[str, list[CostLine]], unit: str) -> Iterator[dict[str, Cell]]:
    printed = printed_hours()
    compared = {kind: hours for kind, hours in printed.items() if kind in by_kind}
    measured_shares = _shares({kind: mean(line["hours"] for line in by_kind[kind]) for kind in compared})
    printed_shares = _shares(compared)
    for kind, lines in by_kind.items():
        hours = [line["hours"] for line in lines]
        counted = [line for line in lines if line["flops"] and line["tokens"]]
        tokens = mean(line["tokens"] or 0 for line in counted) if counted else None
        flops = mean(line["flops"] or 0.0 for line in counted) if counted else None
        memory = max(line["peak_memory_gib"] for line in lines)
        formula = FORMULAS.get(kind, "")
        yield {
            "process": Cell(PROCESSES.get(kind, kind), note=f"{len(lines)} stage{'s' if len(lines) > 1 else ''}"),
            unit: number_cell(mean(hours), ".3g", note=f"{min(hours):.3g} to {max(hours):.3g}"),
            "Table 5, H100 hours": number_cell(printed.get(kind), "g"),
            "share": Cell(f"{measured_shares[kind]:.0%}" if kind in compared else ""),
            "share in Table 5": Cell(f"{printed_shares[kind]:.0%}" if kind in compared else ""),
            "tokens": number_cell(tokens, ",.0f", missing="not recorded"),
            "operations": number_cell(flops, ".3g", note=formula, missing="not known"),
            "peak memory, GiB": number_cell(memory, ".2f"),
        }


def _extrapolated(by_kind: dict[str, list[CostLine]], unit: str) -> Iterator[dict[str, Cell]]:
    """Divide the operations at paper scale by the rate measured here, by kind."""
    for kind, stage in table5_stages().items():
        counted = [line for line in by_kind.get(kind, ()) if line["flops"] and line["hours"]]
        if not counted:
            continue
        rate = sum(line["flops"] or 0.0 for line in counted) / sum(line["hours"] for line in counted)
        flops = stage.tokens * (flops_per_token(kind, stage.large, stage.small) or 0.0)
        yield {
            "process": Cell(PROCESSES[kind]),
            "tokens there": number_cell(stage.tokens, ".3g", note="at most: caps, not lengths"),
            "models": Cell(f"{stage.large / 1e9:g}B, {stage.small / 1e9:g}B"),
            "operations there": number_cell(flops, ".3g"),
            f"operations here per {unit[:-1]}": number_cell(rate, ".3g"),
            f"{unit} there": number_cell(flops / rate, ",.0f"),
        }


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    total = sum(values.values())
    return {kind: value / total for kind, value in values.items()}
