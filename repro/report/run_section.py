"""How a part was made: cost beside Table 5, settings with their provenance, errata, machines, and the command again."""

import shlex
from statistics import mean

from repro.planner.hours import printed_hours
from repro.recipes.assumed import ASSUMED
from repro.recipes.settings import flatten
from repro.report.blocks import Block, Cell, Code, Fold, Grid, Section, Text, text_cells
from repro.report.figures import cost_shares
from repro.report.merge import Part
from repro.report.result import Result

PRINTED = {
    "evaluation.completions_per_prompt": ("16", "section 6.1: maj@16 and pass@16"),
    "evaluation.temperature": ("1.0", "section 4.1, of the pilot study; section 6 does not say"),
    "source_tasks": ("bigmath-4, bigmath-5", "section 6.3: calibrated on math tasks alone"),
    "calibration.advantages": ("group", "appendix D: each reward is normalised in its group before they are summed"),
}
"""Settings that the paper prints: value and place."""
KINDS = {
    "PAPER": "printed in the paper: stored in paper_tables/, quoted with section, never written by a run",
    "DERIVED": "follows from printed numbers by arithmetic: errata, expected hours, what the printed comparisons bear out",
    "ASSUMED": "ours, because the paper's value is lost or the world is our own: settings, our controls, margins",
    "MEASURED": "from the runs on this page: accuracies, rewards, failure rates, intervals, curves, seconds, memory",
}


def cost_section(part: Part, key: str) -> Section:
    """Seconds of every stage, and the shares of a pipeline against Table 5."""
    lines = {line["artifact"]: line for source in part.sources for line in source.content["stages"]}
    seconds: dict[str, list[float]] = {}
    for line in lines.values():
        seconds.setdefault(line["kind"], []).append(line["seconds"])
    total = sum(line["seconds"] for line in lines.values())
    gpu_hours = sum(line["gpu_hours"] for line in lines.values())
    words = Text(
        f"{len(lines)} stages, {total:,.0f} s and {gpu_hours:g} GPU-hours in all (MEASURED; stages run side by side where"
        " cores allow)."
    )
    compared = {kind: mean(seconds[kind]) for kind in printed_hours() if kind in seconds}
    blocks: list[Block] = [words]
    if len(compared) > 1:
        printed = {kind: printed_hours()[kind] for kind in compared}
        blocks.append(
            Grid("One stage of each kind against Table 5 (Qwen pipeline, H100 hours)", _shares(compared, printed))
        )
        blocks.append(cost_shares(compared, printed, key))
    rows = [
        {
            "stage": Cell(line["label"]),
            "seconds": Cell(f"{line['seconds']:.1f}", value=line["seconds"]),
            "GPU-hours": Cell(f"{line['gpu_hours']:g}", value=line["gpu_hours"]),
            "peak memory, GiB": Cell(f"{line['peak_memory_gib']:.2f}", value=line["peak_memory_gib"]),
            "artifact": Cell(line["artifact"]),
        }
        for line in lines.values()
    ]
    blocks.append(Fold(f"Every stage: {len(rows)}", [Grid("Cost of every stage", rows)], f"{key}-stages"))
    return Section(f"{key}-cost", "Cost", blocks, brief=[words])


def _shares(measured: dict[str, float], printed: dict[str, float]) -> list[dict[str, Cell]]:
    ours, theirs = sum(measured.values()), sum(printed.values())
    return [
        {
            "kind": Cell(kind),
            "mean seconds": Cell(f"{seconds:.1f}", value=seconds),
            "share": Cell(f"{seconds / ours:.0%}", value=seconds / ours),
            "Table 5, hours": Cell(f"{printed[kind]:g}", value=printed[kind]),
            "Table 5, share": Cell(f"{printed[kind] / theirs:.0%}", value=printed[kind] / theirs),
        }
        for kind, seconds in measured.items()
    ]


def settings_section(part: Part, key: str) -> Section:
    """Every setting with where it comes from, the four words of provenance, and the errata of the stored table."""
    words = Text("Every number on this page has one of four provenances.")
    kinds = Grid("Provenance", [{"word": Cell(word), "what bears it": Cell(text)} for word, text in KINDS.items()])
    rows = [_setting(name, value, part.report.scale) for name, value in flatten(part.settings).items()]
    blocks: list[Block] = [words, kinds]
    if part.report.scale != "paper":
        blocks.append(
            Text(f"Settings at scale {part.report.scale} are ours; they say nothing about the paper's.", strong=True)
        )
    blocks.append(Fold(f"Every setting: {len(rows)}", [Grid("Settings", rows)], f"{key}-every-setting"))
    lost = [
        {"value": Cell(name), "ASSUMED at paper scale": Cell(str(one.value)), "reason": Cell(one.reason)}
        for name, one in ASSUMED.items()
    ]
    blocks.append(
        Fold(
            f"What the paper does not tell, and what stands in for it: {len(lost)}",
            [Grid("Assumed values", lost)],
            f"{key}-assumed",
        )
    )
    if part.stored.errata:
        errata = [
            text_cells(
                {
                    "erratum": e.id,
                    "where": f"{', '.join(e.row.values())}; {', '.join(e.columns)}; {', '.join(e.metrics)}",
                    "provenance": e.provenance,
                    "why": e.reason,
                }
            )
            for e in part.stored.errata
        ]
        blocks.append(Grid(f"Errata of {part.stored.id}: printed numbers that cannot be right, never matched", errata))
    return Section(f"{key}-settings", "Provenance, settings, errata", blocks)


def _setting(name: str, value: object, scale: str) -> dict[str, Cell]:
    shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    origin, reason = "ASSUMED", f"ours, for scale {scale}"
    if name in PRINTED and PRINTED[name][0] == shown:
        origin, reason = "PAPER", PRINTED[name][1]
    else:
        assumed = ASSUMED.get(name) or ASSUMED.get(_general(name))
        if isinstance(value, list):  # as results.json keeps a tuple
            value = tuple(value)
        if assumed is not None and assumed.value == value:
            reason = assumed.reason
        elif assumed is not None:
            reason += f" (at paper scale {assumed.value}: {assumed.reason})"
        elif name.endswith(".other_target"):
            reason = "of a control of ours (docs/controls.md)"
        elif name.startswith("families.") and scale == "paper":
            origin, reason = "PAPER", "section 6.1"
    return text_cells({"setting": name, "value": shown, "provenance": origin, "why this one": reason})


def _general(name: str) -> str:
    """The name under which an ASSUMED value covers several settings."""
    head, _, leaf = name.partition(".")
    if head == "families" and leaf.endswith(".target"):
        return f"{leaf.removesuffix('.target')} target"
    if leaf == "max_completion_tokens":
        return "calibration.max_completion_tokens"
    return f"distillation.{leaf}" if head in ("sft", "gkd_fkl", "gkd_rkl") else name


def environment_section(part: Part, key: str) -> Section:
    """Where each result was made, and the command that makes it again."""
    blocks: list[Block] = []
    made = [
        text_cells(
            {
                "result": source.name,
                "seeds": ", ".join(map(str, source.content["seeds"])),
                "made": source.content["made"],
                "code": code_words(source.content),
                "machine": _machine(source.content),
            }
        )
        for source in part.sources
    ]
    if len({source.content["code"]["commit"] for source in part.sources}) > 1:
        blocks.append(Text("The results were made by different commits of the code.", strong=True))
    blocks.append(Grid("Results on this page", made))
    reruns: list[Block] = []
    for command in dict.fromkeys(rerun_command(source.content) for source in part.sources):
        reruns += [Code(command)]
    versions = [
        text_cells(
            {"library": name, **{source.name: source.content["libraries"].get(name, "") for source in part.sources}}
        )
        for name in sorted({name for source in part.sources for name in source.content["libraries"]})
    ]
    blocks += [
        Text("Rerun:"),
        *reruns,
        Fold("Library versions", [Grid("Library versions", versions)], f"{key}-libraries"),
    ]
    brief: list[Block] = [Grid("Results on this page", made), Text("Rerun:"), *reruns]
    return Section(f"{key}-environment", "Environment and rerun", blocks, brief)


def code_words(result: Result) -> str:
    """Commit of the code, and whether it was changed."""
    commit = result["code"]["commit"]
    if not commit:
        return "not a checkout"
    return f"{commit[:12]}{' with uncommitted changes' if result['code']['dirty'] else ''}"


def _machine(result: Result) -> str:
    machine = result["hardware"]
    gpus = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    return f"{machine['system']} {machine['machine']}, {machine['cpus']} cores, {machine['memory_gib']} GiB, {gpus}"


def rerun_command(result: Result) -> str:
    """The command that makes this result again."""
    words = ["repro", "run", result["study"], "--scale", result["scale"], "--seeds", str(len(result["seeds"]))]
    if result["seeds"][0]:
        words += ["--first-seed", str(result["seeds"][0])]
    for family in result["families"]:
        words += ["--family", family]
    for one in result["assignments"]:
        words += ["--set", one]
    return shlex.join(words)
