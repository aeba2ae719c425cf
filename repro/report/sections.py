"""The one list of what a page says of a part, in order."""

from repro.report.blocks import Block, Samples, Section, Text
from repro.report.figures import study_figures
from repro.report.further_section import further_section
from repro.report.knob_section import knob_section
from repro.report.measured_section import failures_section, measured_section
from repro.report.merge import Part
from repro.report.run_section import cost_section, environment_section, settings_section
from repro.report.traps_section import traps_section
from repro.report.verdict_section import verdict_section


def sections(part: Part, key: str) -> list[Section]:
    """Verdicts first; sections with nothing to show are left out. key: makes ids its own on the page."""
    found = [
        verdict_section(part, key),
        measured_section(part, key),
        Section(f"{key}-figures", "Figures", study_figures(part, key)),
        knob_section(part, key),
        traps_section(part, key),
        further_section(part, key),
        failures_section(part, key),
        Section(f"{key}-examples", "Completions side by side", _examples(part)),
        cost_section(part, key),
        settings_section(part, key),
        environment_section(part, key),
    ]
    return [section for section in found if section.blocks]


def _examples(part: Part) -> list[Block]:
    """Those of the first source of each family: further seeds would show the same prompts again."""
    shown: list[Block] = []
    families: set[str] = set()
    for source in part.sources:
        own = [e for e in source.content["examples"] if e["family"] not in families]
        families |= {e["family"] for e in own}
        shown += [Samples(example) for example in own]
    words = (
        "The first completion of the first prompts by item id, not chosen. Control and direction characters are shown"
        " by their code."
    )
    return [Text(words), *shown] if shown else []
