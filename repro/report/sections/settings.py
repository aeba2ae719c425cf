"""Every setting with its provenance, what the paper does not say, and errata."""

from repro.recipes.assumed import ASSUMED
from repro.recipes.settings import flatten
from repro.report.blocks import Block, Collapsible, Section, Text, text_grid
from repro.report.merge import Part

PRINTED = {
    "evaluation.completions_per_prompt": ("16", "section 6.1: maj@16 and pass@16"),
    "evaluation.temperature": ("1.0", "section 4.1, of the pilot study; section 6 does not say"),
    "source_tasks": ("bigmath-4, bigmath-5", "section 6.3: calibrated on math tasks alone"),
    "calibration.advantages": ("group", "appendix D: each reward is normalised in its group before they are summed"),
}
"""Settings that the paper prints: value and section."""
PROVENANCES = {
    "PAPER": "printed in the paper: stored in paper_tables/, quoted with section, never written by a run",
    "DERIVED": "follows from printed numbers by arithmetic: errata, expected hours, what the printed comparisons support, and"
    " the margins whose reason says so",
    "ASSUMED": "ours, because the paper's value is lost or the world is our own: settings, our controls, all other margins",
    "MEASURED": "from the runs on this page: accuracies, rewards, failure rates, intervals, curves, seconds, memory",
}


def settings_section(part: Part, key: str) -> Section:
    """Show the four words of provenance, every setting, assumed values, and the errata of the stored table."""
    scale = part.report.scale
    provenances = [{"word": word, "where the number comes from": text} for word, text in PROVENANCES.items()]
    blocks: list[Block] = [
        Text("Every number on this page has one of four provenances."),
        text_grid("Provenance", provenances),
    ]
    if scale != "paper":
        blocks.append(Text(f"Settings at scale {scale} are ours; they say nothing about the paper's.", strong=True))
    settings = [describe_setting(name, value, scale) for name, value in flatten(part.settings).items()]
    assumed = [
        {"value": name, "ASSUMED at paper scale": str(entry.value), "reason": entry.reason}
        for name, entry in ASSUMED.items()
    ]
    blocks += [
        Collapsible(f"Every setting: {len(settings)}", [text_grid("Settings", settings)], f"{key}-every-setting"),
        Collapsible(
            f"What the paper does not state, and the values used instead: {len(assumed)}",
            [text_grid("Assumed values", assumed)],
            f"{key}-assumed",
        ),
    ]
    if part.stored.errata:
        errata = [
            {
                "erratum": erratum.id,
                "where": f"{', '.join(erratum.row.values())}; {', '.join(erratum.columns)}; {', '.join(erratum.metrics)}",
                "provenance": erratum.provenance,
                "why": erratum.reason,
            }
            for erratum in part.stored.errata
        ]
        caption = f"Errata of {part.stored.id}: printed numbers that cannot be right, never matched"
        blocks.append(text_grid(caption, errata))
    return Section(f"{key}-settings", "Provenance, settings, errata", blocks)


def describe_setting(name: str, value: object, scale: str) -> dict[str, str]:
    """Return a setting as a row: setting, value, provenance, and why this one."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    origin, reason = "ASSUMED", f"ours, for scale {scale}"
    if name in PRINTED and PRINTED[name][0] == text:
        origin, reason = "PAPER", PRINTED[name][1]
    else:
        assumed = ASSUMED.get(name) or ASSUMED.get(_general(name))
        if isinstance(value, list):  # JSON stores a tuple as a list
            value = tuple(value)
        if assumed is not None and assumed.value == value:
            reason = assumed.reason if scale == "paper" else f"as at paper scale: {assumed.reason}"
        elif assumed is not None:
            shown = f'"{assumed.value}"' if isinstance(assumed.value, str) else assumed.value
            reason += f" (at paper scale {shown}: {assumed.reason})"
        elif name.endswith(".other_target"):
            reason = "of a control of ours (docs/controls.md)"
        elif name.startswith("families.") and scale == "paper":
            origin, reason = "PAPER", "section 6.1"
    return {"setting": name, "value": text, "provenance": origin, "why this one": reason}


def _general(name: str) -> str:
    """Return the name of an ASSUMED value that covers several settings."""
    head, _, leaf = name.partition(".")
    if head == "families" and leaf.endswith(".target"):
        return f"{leaf.removesuffix('.target')} target"
    if leaf == "max_completion_tokens":
        return "calibration.max_completion_tokens"
    return f"distillation.{leaf}" if head in ("sft", "gkd_fkl", "gkd_rkl") else name
