"""The list of sections of a part, in order."""

from repro.recipes.studies import STUDIES, resolve
from repro.report.blocks import Block, Collapsible, Section, SideBySide, Text
from repro.report.conclusions import plural
from repro.report.figures.by_study import study_figures
from repro.report.merge import Part
from repro.report.sections.cost import cost_section
from repro.report.sections.environment import environment_section
from repro.report.sections.eta_sweep import eta_section
from repro.report.sections.findings import findings_section
from repro.report.sections.measured import failures_section, measured_section
from repro.report.sections.settings import settings_section
from repro.report.sections.stage_warnings import warning_section
from repro.report.sections.verdicts import verdict_section


def build_sections(part: Part, key: str) -> list[Section]:
    """Build the sections of a part, what was found first; those with nothing to show are left out.

    Args:
        key: prefix that makes ids unique on the page.
    """
    study_section = STUDIES[part.report.study].section
    sections = [
        findings_section(part, key),
        verdict_section(part, key),
        measured_section(part, key),
        Section(f"{key}-figures", "Figures", study_figures(part, key)),
        eta_section(part, key),
        *([resolve(study_section)(part, key)] if study_section else []),
        failures_section(part, key),
        Section(f"{key}-examples", "Completions side by side", _examples(part, key)),
        warning_section(part, key),
        cost_section(part, key),
        settings_section(part, key),
        environment_section(part, key),
    ]
    return [section for section in sections if section.blocks]


def _examples(part: Part, key: str) -> list[Block]:
    """Show the completions of each family's first source: further seeds would show the same prompts again."""
    examples: list[Block] = []
    remaining = set(part.report.families)
    for source in part.sources:
        new = [example for example in source.content["examples"] if example["family"] in remaining]
        remaining -= {example["family"] for example in new}
        examples += map(SideBySide, new)
    selected = STUDIES[part.report.study].examples
    if not examples or selected is None:
        return []
    text = f"{selected.text} Control and direction characters are shown by their code."
    summary = f"{plural(len(examples), 'example')}: the first ones, not chosen"
    return [Collapsible(summary, [Text(text), *examples], f"{key}-completions")]
